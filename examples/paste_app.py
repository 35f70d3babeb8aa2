"""Count visits in an app with a PasteDeploy filter; ``paste.ini`` joins the two."""

from collections.abc import Callable, Iterable
from typing import Any


def counter(_global_settings: dict[str, str], **_settings: str) -> Callable[..., Iterable[bytes]]:
    """Return the app, as ``paste.app_factory`` does."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        session = environ["litesess.session"]
        session["visits"] = session.get("visits", 0) + 1
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"visit %d\n" % session["visits"]]

    return app
