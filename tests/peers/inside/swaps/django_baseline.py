"""The settings of Django's tests, and the runner that tells of each."""

from test_sqlite import *  # noqa: F403

TEST_RUNNER = "swaps.django.Runner"
