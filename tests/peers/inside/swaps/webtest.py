"""A pytest plugin: WebTest asks each app through litesess, with a linter on each side.

The app's session counts its requests, so that each of them is stored and announced.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from webtest import lint

from litesess import MemoryStore, SessionMiddleware
from litesess.web import Manager
from swaps.opened import counted

_SECRET = "signs the cookies of WebTest's apps"
_lint = lint.middleware
_store = MemoryStore()


def swapped(application: Any, global_conf: Any = None) -> Any:
    """Return *application* in the middleware, with a linter on either side."""
    between = SessionMiddleware(
        _counting(_lint(application, global_conf)), secret=_SECRET, store=_store
    )
    return _lint(between)


def _counting(app: Any) -> Any:
    def counting(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        session = environ["litesess.session"]
        session["requests"] = session.get("requests", 0) + 1
        answer: Iterable[bytes] = app(environ, start_response)
        return answer

    return counting


Manager.begin = counted(Manager.begin)  # type: ignore[method-assign]
lint.middleware = swapped
