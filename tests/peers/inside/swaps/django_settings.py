"""The settings of Django's tests, with the sessions kept by litesess."""

import tempfile

from swaps.django_baseline import *  # noqa: F403

SESSION_ENGINE = "litesess.integrations.django"
LITESESS_PATH = tempfile.mkdtemp(prefix="litesess-peers-")
LITESESS_DURABLE = False
