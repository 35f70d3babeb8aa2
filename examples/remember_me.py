"""A login that lasts two weeks, or as long as the browser is open, by a checkbox.

``SESSION_SECRET=$(litesess secret) python examples/remember_me.py`` runs it.
"""

import os
from collections.abc import Callable, Iterable
from html import escape
from typing import Any
from urllib.parse import parse_qs
from wsgiref.simple_server import make_server

from litesess import SessionMiddleware, WALStore

TWO_WEEKS = 14 * 86_400
FORM = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Log in</title>
<form method="post"><p><label>Name <input name="name"></label>
<p><label><input type="checkbox" name="remember"> Remember me</label>
<p><button>Log in</button></form>"""


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    session = environ["litesess.session"]
    body = FORM
    if environ["REQUEST_METHOD"] == "POST":
        size = min(int(environ.get("CONTENT_LENGTH") or 0), 1024)
        fields = parse_qs(environ["wsgi.input"].read(size).decode(errors="replace"))
        if name := fields.get("name", [""])[0]:  # a real app asks for a password
            session.login(name)
            session["visits"] = 0
            # None: the cookie ends with the browser, and the session with the store's ttl.
            session.cookie.max_age = TWO_WEEKS if "remember" in fields else None
    if session.owner is not None:
        session["visits"] += 1
        body = f"{escape(session.owner)}, page {session['visits']}\n".encode()
    headers = [("Content-Type", "text/html; charset=utf-8")]
    headers.append(("Cache-Control", "no-store"))  # nothing to go back to when that is over
    start_response("200 OK", headers)
    return [body]


application = SessionMiddleware(
    app, secret=os.environ["SESSION_SECRET"], store=WALStore("data", ttl=3600)
)

if __name__ == "__main__":
    port = int(os.environ.get("EXAMPLE_PORT", "8000"))
    with application, make_server("127.0.0.1", port, application) as server:
        server.serve_forever()
