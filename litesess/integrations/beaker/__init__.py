"""Coming from Beaker: its session options as ours, and its cookies honoured for a while.

Nothing here imports Beaker, or unpickles what it has written; ``litesess import-beaker`` brings
its sessions over.
"""

from __future__ import annotations

from litesess.integrations.beaker.config import from_beaker
from litesess.integrations.beaker.transition import BeakerTransition

__all__ = ["BeakerTransition", "from_beaker"]
