"""Count visits with nothing but WSGI; ``SESSION_SECRET=$(litesess secret) python`` runs it."""

import os
from collections.abc import Callable
from typing import Any
from wsgiref.simple_server import make_server

from litesess import SessionMiddleware, WALStore


def count(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    session = environ["litesess.session"]
    session["visits"] = session.get("visits", 0) + 1
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"visit %d\n" % session["visits"]]


application = SessionMiddleware(count, secret=os.environ["SESSION_SECRET"], store=WALStore("data"))

if __name__ == "__main__":
    port = int(os.environ.get("EXAMPLE_PORT", "8000"))
    with application, make_server("127.0.0.1", port, application) as server:
        server.serve_forever()
