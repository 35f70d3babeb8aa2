"""Flask-Login and Flask-WTF, with a page that logs out all your other devices.

Serve it by::

    SESSION_SECRET=$(litesess secret) gunicorn -w 2 --chdir examples flask_login_app:app
"""

import hmac
import os
import time
from typing import Any

from flask import Flask, redirect, render_template_string
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from flask_wtf import FlaskForm
from wtforms import PasswordField, StringField, SubmitField

from litesess.integrations.flask import Litesess, session

PASSWORDS = {"ada": "engine", "alan": "machine"}  # a real app keeps slow hashes: scrypt, Argon2
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Devices</title>
<form method="post">{{ form.hidden_tag() }}{% if current_user.is_authenticated %}
<h1>Devices of {{ current_user.id }}</h1><ul>{% for key, device in devices %}
<li>{{ device.client.user_agent }}, {{ device.client.address }}, {{ ctime(device.last_seen_at) }}
{{ "(this one)" if key.startswith(session.handle) }}{% endfor %}</ul>{{ form.others }}{{ form.end }}
{% else %}<h1>Log in</h1>{{ form.user }}{{ form.password }}{{ form.begin }}{% endif %}</form>"""
app = Flask(__name__)
app.config["SECRET_KEY"] = os.environ["SESSION_SECRET"]
app.config["LITESESS_PATH"] = os.environ.get("EXAMPLE_DATA", "data")
app.config["LITESESS_CLIENT_INFO"] = True  # the browser and the address of each device
litesess, users = Litesess(app), LoginManager(app)


@users.user_loader
class User(UserMixin):  # type: ignore[misc]  # neither has types
    def __init__(self, name: str) -> None:
        self.id = name


class Form(FlaskForm):  # type: ignore[misc]
    user, password = StringField(), PasswordField()
    begin, end, others = map(SubmitField, ("Log in", "Log out", "Log out all others"))


@app.route("/", methods=["GET", "POST"])
def devices() -> Any:
    form, user = Form(), current_user.get_id()
    if form.validate_on_submit():  # with the token of this session
        given, password = form.password.data or "", PASSWORDS.get(form.user.data)
        if form.end.data:
            logout_user()
        elif form.others.data and user:
            litesess.store.delete_owner(user, keep=[session])
        elif password and hmac.compare_digest(given.encode(), password.encode()):
            login_user(User(form.user.data))
        return redirect("/")
    found = litesess.store.find(user) if user else ()
    page = render_template_string(PAGE, form=form, devices=found, ctime=time.ctime)
    return page, {"Cache-Control": "no-store"}
