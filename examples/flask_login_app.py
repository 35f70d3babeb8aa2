"""Flask-Login, with "log out my other devices"; no other line of it knows litesess.

A session's owner is the user that Flask-Login has logged in::

    SESSION_SECRET=$(litesess secret) gunicorn -w 2 --chdir examples flask_login_app:app
"""

import hmac
import os
from pathlib import Path

from flask import Flask, redirect, render_template_string, request
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from werkzeug.wrappers import Response

from litesess.integrations.flask import Litesess, session

PASSWORDS = {"ada": "engine", "alan": "machine"}  # a real app keeps slow hashes: scrypt, Argon2
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Devices</title>
{% if current_user.is_authenticated %}<h1>Hello {{ current_user.id }}</h1><form method="post">
<button formaction="/others">Log out my other devices</button>
<button formaction="/logout">Log out</button></form>{% else %}<h1>Hello stranger</h1>
<form method="post" action="/login"><input name="name"><input name="password" type="password">
<button>Log in</button></form>{% endif %}"""

app = Flask(__name__)
app.config.update(
    SECRET_KEY=os.environ["SESSION_SECRET"],
    LITESESS_PATH=os.environ.get("EXAMPLE_DATA") or Path(__file__).with_name("data"),
)
litesess, users = Litesess(app), LoginManager(app)
app.add_url_rule("/", view_func=lambda: render_template_string(PAGE))


@users.user_loader
class User(UserMixin):  # type: ignore[misc]  # it has no types
    def __init__(self, name: str) -> None:
        self.id = name


@app.post("/login")
def log_in() -> Response:
    name, given = request.form.get("name", ""), request.form.get("password", "")
    if name in PASSWORDS and hmac.compare_digest(given.encode(), PASSWORDS[name].encode()):
        login_user(User(name))
    return redirect("/")


@app.post("/others")
def log_out_others() -> Response:
    if current_user.is_authenticated:
        litesess.store.delete_owner(current_user.get_id(), keep=[session])
    return redirect("/")


@app.post("/logout")
def log_out() -> Response:
    logout_user()
    return redirect("/")
