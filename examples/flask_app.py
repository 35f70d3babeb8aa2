"""Log in and out with Flask.

This serves it, as ``flask run`` does; ``EXAMPLE_DATA`` says where the sessions are kept::

    SESSION_SECRET=$(litesess secret) gunicorn -w 2 --chdir examples flask_app:app
"""

import hmac
import os
from pathlib import Path

from flask import Flask, flash, redirect, render_template_string, request
from werkzeug.wrappers import Response

from litesess.integrations.flask import Litesess, session

PASSWORDS = {"ada": "engine", "alan": "machine"}  # a real app keeps slow hashes: scrypt, Argon2
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Hello</title>
{{ get_flashed_messages() | join }}<h1>Hello {{ session.owner or "stranger" }}</h1>
{% if session.owner %}<p>Visit {{ session.visits }}<form method="post" action="/logout">
<button>Log out</button></form>{% else %}<form method="post" action="/login">
<input name="name"><input name="password" type="password"><button>Log in</button></form>{%endif%}"""

app = Flask(__name__)
app.config.update(
    SECRET_KEY=os.environ["SESSION_SECRET"],
    SESSION_COOKIE_SAMESITE="Lax",
    LITESESS_PATH=os.environ.get("EXAMPLE_DATA") or Path(__file__).with_name("data"),
)
Litesess(app)


@app.after_request
def keep_out_of_caches(response: Response) -> Response:
    response.cache_control.no_store = True  # nothing to go back to after the logout
    return response


@app.get("/")
def index() -> str:
    if session.owner is not None:
        session["visits"] = session.get("visits", 0) + 1
    return render_template_string(PAGE)


@app.post("/login")
def log_in() -> Response:
    name, given = request.form.get("name", ""), request.form.get("password", "")
    if name in PASSWORDS and hmac.compare_digest(given.encode(), PASSWORDS[name].encode()):
        session.login(name)
    else:
        flash("No such name and password.")
    return redirect("/")


@app.post("/logout")
def log_out() -> Response:
    session.clear()
    return redirect("/")
