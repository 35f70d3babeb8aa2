"""Log in, see your session, log out: plain WSGI, by form or by JSON.

Either of these serves it::

    python examples/login/app.py
    gunicorn -w 4 --threads 4 --chdir examples/login app:application

``EXAMPLE_HOST`` and ``EXAMPLE_PORT`` name the address of the first, ``EXAMPLE_DATA`` the directory
of the sessions, and ``SESSION_SECRET`` the secret that signs the cookie.
"""

import atexit
import hmac
import json
import os
import secrets
import signal
import sys
from collections.abc import Callable
from html import escape
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import parse_qsl
from wsgiref.simple_server import WSGIServer, make_server

from litesess import Session, SessionMiddleware, WALStore

try:
    import waitress
except ImportError:  # the standard library serves as well, if slower
    waitress = None

Environ = dict[str, Any]
Answer = str | dict[str, Any]  # a page, or JSON

DATA = Path(os.environ.get("EXAMPLE_DATA") or Path(__file__).with_name("data"))
# A real app keeps slow hashes (scrypt, Argon2) and no passwords.
PASSWORDS = {"ada": "engine", "alan": "machine", "grace": "compiler"}
LONGEST_BODY = 1024
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>litesess</title>
<h1>{title}</h1>
<form method="post" action="login">
<p><label>Name <input name="name" autocomplete="username"></label>
<p><label>Password <input name="password" type="password" autocomplete="current-password"></label>
<p><button>Log in</button>
</form>
<form method="post" action="logout"><button>Log out</button></form>
<h2>The session</h2>
<pre>{session}</pre>
"""


class Refused(Exception):
    """Its text is the response's status."""


def home(_environ: Environ, session: Session) -> str:
    return page(f"Hello {session.get('user', 'stranger')}", session)


def me(_environ: Environ, session: Session) -> dict[str, Any]:
    if "user" not in session:
        return {"user": None}
    return {"user": session["user"], "handle": session.handle}


def login(environ: Environ, session: Session) -> dict[str, Any]:
    fields = read_fields(environ)
    name, given = str(fields.get("name")), str(fields.get("password"))
    password = PASSWORDS.get(name, "")
    is_right = hmac.compare_digest(given.encode(errors="replace"), password.encode())
    if not (password and is_right):
        raise Refused("403 Forbidden")
    session.login(name)  # a new id: a person who knew or planted the old id does not know it
    session["user"] = name
    return me(environ, session)


def logout(environ: Environ, session: Session) -> dict[str, Any]:
    session.destroy()
    return me(environ, session)


# Only a POST changes anything, and the pages of other sites can't post with our cookie: it is
# SameSite=Lax by default.
ACTIONS: dict[str, Callable[[Environ, Session], Answer]] = {
    "GET /": home,
    "GET /me": me,
    "POST /login": login,
    "POST /logout": logout,
}


def app(environ: Environ, start_response: Callable[..., Any]) -> list[bytes]:
    session: Session = environ["litesess.session"]
    method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
    wants_page = "text/html" in environ.get("HTTP_ACCEPT", "")
    status, headers = "200 OK", []
    answer: Answer
    try:
        if (action := ACTIONS.get(f"{method} {path}")) is None:
            raise Refused("404 Not Found")
        answer = action(environ, session)
        if wants_page and method == "POST":
            status, headers = "303 See Other", [("Location", ".")]
    except Refused as refused:
        status = str(refused)
        answer = page(status, session) if wants_page else {"error": status}
    media_type = "text/html; charset=utf-8" if isinstance(answer, str) else "application/json"
    body = (answer if isinstance(answer, str) else json.dumps(answer) + "\n").encode()
    headers += [("Content-Type", media_type), ("Content-Length", str(len(body)))]
    headers.append(("Cache-Control", "no-store"))  # nothing to go back to after the logout
    start_response(status, headers)
    return [body]


def page(title: str, session: Session) -> str:
    # Escape it: a client's text must not become HTML.
    shown = json.dumps(dict(session), indent=2) if session else "empty"
    return PAGE.format(title=escape(title), session=escape(shown))


def read_fields(environ: Environ) -> dict[str, Any]:
    try:
        size = int(environ.get("CONTENT_LENGTH") or 0)
        if not 0 <= size <= LONGEST_BODY:
            raise Refused("413 Content Too Large")
        body = environ["wsgi.input"].read(size).decode()
        is_json = environ.get("CONTENT_TYPE", "").startswith("application/json")
        return dict(json.loads(body) if is_json else parse_qsl(body))
    except (ValueError, TypeError, RecursionError) as error:
        raise Refused("400 Bad Request") from error


def secret() -> str:
    """Return the secret from the environment, or one that is kept beside the sessions."""
    if given := os.environ.get("SESSION_SECRET"):
        return given
    file = DATA / "secret"
    if not file.exists():
        DATA.mkdir(parents=True, exist_ok=True)
        DATA.chmod(0o700)
        file.touch()
        file.chmod(0o600)  # before there is anything to read
        file.write_text(secrets.token_hex(32))
    return file.read_text()


application = SessionMiddleware(app, secret=secret(), store=WALStore(DATA))
atexit.register(application.close)  # gunicorn's workers come by here too


class ThreadingServer(ThreadingMixIn, WSGIServer):
    """The standard library's server, a thread to each request."""

    daemon_threads = True


def serve(host: str, port: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit())
    if waitress is None:
        run = make_server(host, port, application, server_class=ThreadingServer).serve_forever
    else:
        run = waitress.create_server(application, host=host, port=port, threads=8).run
    print(f"http://{host}:{port}/", flush=True)
    run()


if __name__ == "__main__":
    serve(os.environ.get("EXAMPLE_HOST", "127.0.0.1"), int(os.environ.get("EXAMPLE_PORT", "8000")))
