r"""Several workers, one directory: all see the same session, and none loses a count.

This runs four workers, which share the modules imported before the fork::

    SESSION_SECRET=$(litesess secret) gunicorn -w 4 --threads 4 --preload \
        --chdir examples workers:application

``EXAMPLE_DATA`` names the directory of the sessions.
"""

import atexit
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from litesess import Session, SessionMiddleware, WALStore


def count_up(session: Session) -> None:
    session["visits"] = session.get("visits", 0) + 1


def count(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    session: Session = environ["litesess.session"]
    # Requests that overlap and change the same key would overwrite each other's count.
    session.atomic(count_up)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"visit %d, served by %d\n" % (session["visits"], os.getpid())]


application = SessionMiddleware(
    count,
    secret=os.environ["SESSION_SECRET"],
    store=WALStore(os.environ.get("EXAMPLE_DATA") or Path(__file__).with_name("data")),
)
atexit.register(application.close)  # in each worker; the parent has nothing open
