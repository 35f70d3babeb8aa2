"""Your devices: see where you are logged in, sign out one device or all your other devices.

Either of these serves it::

    SESSION_SECRET=$(litesess secret) python examples/devices/devices.py
    SESSION_SECRET=$(litesess secret) gunicorn -w 2 --chdir examples/devices devices:application

``EXAMPLE_DATA`` names the directory of the sessions, ``EXAMPLE_PORT`` the port of the first.
"""

import atexit
import hmac
import os
import time
from pathlib import Path
from typing import Any

from bottle import Bottle, abort, redirect, request, response, run, template

from litesess import Session, SessionMiddleware, WALStore

# A real app keeps slow hashes (scrypt, Argon2) and no passwords.
PASSWORDS = {"ada": "engine", "alan": "machine", "grace": "compiler"}
LOGIN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Log in</title>
<h1>Log in</h1>
<form method="post" action="/login">
<p><label>Name <input name="name" autocomplete="username"></label>
<p><label>Password <input name="password" type="password" autocomplete="current-password"></label>
<p><button>Log in</button></form>"""
DEVICES = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Your devices</title>
<h1>Your devices, {{user}}</h1>
<table><tr><th>Browser<th>Address<th>First seen<th>Last seen<th>
% for device in devices:
<tr><td>{{device["browser"]}}<td>{{device["address"]}}<td>{{device["first_seen"]}}
<td>{{device["last_seen"]}}<td>
% if device["is_this"]:
this one
% else:
<form method="post" action="/devices/{{device["handle"]}}/sign-out">
<input type="hidden" name="token" value="{{token}}"><button>Sign out</button></form>
% end
% end
</table>
<form method="post" action="/devices/sign-out-others">
<input type="hidden" name="token" value="{{token}}"><button>Sign out all others</button></form>
<form method="post" action="/logout">
<input type="hidden" name="token" value="{{token}}"><button>Log out</button></form>"""

app = Bottle()


def current() -> Session:
    """Return the session of a logged-in user; redirect other visitors to the login."""
    session: Session = request.environ["litesess.session"]
    if session.owner is None:
        redirect("/login")
    response.set_header("Cache-Control", "no-store")  # nothing to go back to after the logout
    return session


def checked() -> Session:
    """Return the session of a user who has sent a form of this site."""
    session = current()
    given = request.forms.get("token", "")
    if not hmac.compare_digest(given.encode(), session.get_csrf_token().encode()):
        abort(403, "This form is too old, or not ours.")
    return session


def device(session: Session, key: str, record: Any) -> dict[str, Any]:
    known = record.client or {}
    shown = {name: time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at)) for name, at in (
        ("first_seen", record.created_at), ("last_seen", record.last_seen_at))}  # fmt: skip
    return {
        "browser": known.get("user_agent") or "unknown",
        "address": known.get("address") or "unknown",
        "handle": key[:16],
        "is_this": key.startswith(session.handle),
        **shown,
    }


@app.get("/")
def devices() -> str:
    session = current()
    found = request.environ["litesess.store"].find(session.owner)
    rows = sorted((device(session, *item) for item in found), key=lambda row: row["first_seen"])
    page: str = template(DEVICES, user=session.owner, devices=rows, token=session.get_csrf_token())
    return page


@app.get("/login")
def ask() -> str:
    return LOGIN


@app.post("/login")
def log_in() -> None:
    name, given = request.forms.get("name", ""), request.forms.get("password", "")
    password = PASSWORDS.get(name, "")
    if not (password and hmac.compare_digest(given.encode(), password.encode())):
        abort(403, "No such name and password.")
    request.environ["litesess.session"].login(name)
    redirect("/")


@app.post("/logout")
def log_out() -> None:
    checked().destroy()
    redirect("/login")


@app.post("/devices/<handle:re:[0-9a-f]{16}>/sign-out")
def sign_out(handle: str) -> None:
    session, store = checked(), request.environ["litesess.store"]
    for key, _ in store.find(session.owner):  # the user's own sessions alone
        if key.startswith(handle):
            store.delete(key)
    redirect("/")


@app.post("/devices/sign-out-others")
def sign_out_others() -> None:
    session = checked()
    request.environ["litesess.store"].delete_owner(session.owner, keep=[session])
    redirect("/")


store = WALStore(
    os.environ.get("EXAMPLE_DATA") or Path(__file__).with_name("data"), max_per_owner=10
)
application = SessionMiddleware(
    app, secret=os.environ["SESSION_SECRET"], store=store, client_info=True
)
atexit.register(application.close)  # gunicorn's workers come by here too

if __name__ == "__main__":
    run(application, host="127.0.0.1", port=int(os.environ.get("EXAMPLE_PORT", "8000")))
