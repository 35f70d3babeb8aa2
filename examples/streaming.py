"""A page that is sent as it is made, and the changes to a session that are still possible then.

``SESSION_SECRET=$(litesess secret) python examples/streaming.py`` runs it.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.simple_server import make_server

from litesess import HeadersSent, SessionMiddleware, WALStore


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    session = environ["litesess.session"]
    # Before the first piece: the cookie of a new session goes out with the headers.
    session["downloads"] = session.get("downloads", 0) + 1
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"download %d\n" % session["downloads"]
    for number in range(3):
        yield b"part %d\n" % number
        session["parts"] = number + 1  # stored when the last piece has gone
    try:
        session.rotate()
    except HeadersSent:
        yield b"another id can't be announced any more\n"


application = SessionMiddleware(app, secret=os.environ["SESSION_SECRET"], store=WALStore("data"))

if __name__ == "__main__":
    port = int(os.environ.get("EXAMPLE_PORT", "8000"))
    with application, make_server("127.0.0.1", port, application) as server:
        server.serve_forever()
