"""Real Beaker in a WSGI app, as a site had it before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from beaker.middleware import SessionMiddleware
from webtest import TestApp as Browser

#: So long enough that litesess takes it, too.
BEAKER_SECRET = "5f0c7a19d2e84b63a7715c0e9b3d2f48"
NAME = "beaker.session.id"


class BeakerSite:
    """An app with Beaker around it that runs the action of each request.

    Attributes:
        config: Beaker's.
        directory: its data_dir.
    """

    def __init__(self, directory: Path, **options: Any) -> None:
        self.directory = directory
        self.config = {
            "session.type": "file",
            "session.data_dir": str(directory),
            "session.secret": BEAKER_SECRET,
            **{f"session.{name}": value for name, value in options.items()},
        }
        self._app = SessionMiddleware(self._serve, self.config)
        self._action: Callable[[Any], Any] = lambda session: None

    def _serve(self, environ: Any, start_response: Any) -> list[bytes]:
        self._action(environ["beaker.session"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    def browser(self) -> Browser:
        """Return a browser that has not been here."""
        return Browser(self._app, lint=False)

    def visit(self, action: Callable[[Any], Any], by: Browser | None = None) -> Browser:
        """Do something with the session of a browser; return the browser."""
        browser = by or self.browser()
        self._action = action
        browser.get("/")
        return browser

    def log_in(self, **values: Any) -> Browser:
        """Return a browser with a session of these values."""
        return self.visit(lambda session: (session.update(values), session.save()))

    @property
    def files(self) -> list[Path]:
        """The files of sessions that are not imported."""
        return sorted(self.directory.glob("container_file/?/??/*.cache"))


def id_of(browser: Browser) -> str:
    """Return Beaker's id in the cookie of a browser."""
    return browser.cookies[NAME].strip('"')[40:]
