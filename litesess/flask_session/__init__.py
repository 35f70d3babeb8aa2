"""Moving an app from Flask-Session to litesess, without logging its users out.

::

    transition   an extension that accepts Flask-Session's cookies, too
    command      litesess import-flask-session: Flask-Session's files -> a store
    files        those files, read
    names        what they are named after

Nothing here imports Flask-Session or cachelib, or unpickles their files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from litesess import lazy

if TYPE_CHECKING:
    from litesess.flask_session.transition import FlaskSessionTransition

__all__ = ["FlaskSessionTransition"]

# The command needs no Flask.
__getattr__ = lazy.names(__name__, {"FlaskSessionTransition": "litesess.flask_session.transition"})
