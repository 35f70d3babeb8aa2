"""Moving an app from Beaker to litesess, without logging its users out.

::

    config       Beaker's session options -> ours
    transition   a middleware that accepts Beaker's cookies, too
    command      litesess import-beaker: Beaker's session files -> a store
    files        those files, read

Nothing here imports Beaker, or unpickles its files.
"""

from __future__ import annotations

from litesess.beaker.config import from_beaker
from litesess.beaker.transition import BeakerTransition

__all__ = ["BeakerTransition", "from_beaker"]
