"""Django in one file: log in, see your devices, log out all your other devices.

Serve it by::

    SESSION_SECRET=$(litesess secret) gunicorn -w 4 --chdir examples --preload django_app
"""

import os
import time
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.shortcuts import redirect
from django.template import engines
from django.urls import path

from litesess.integrations.django import store

PASSWORDS = {"ada": "engine", "alan": "machine"}
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Devices</title>
<form method="post">{% csrf_token %}{% if user.is_authenticated %}
<h1>Devices of {{ user }}</h1><ul>{% for client, seen, is_this in devices %}
<li>{{ client.user_agent }}, {{ client.address }}, {{ seen }}{% if is_this %} (this one){% endif %}
{% endfor %}</ul>
<button name="others">Log out all others</button><button name="end">Log out</button>
{% else %}<h1>Log in</h1><input name="username"><input name="password" type="password">
<button>Log in</button>{% endif %}</form>"""
DATA = os.environ.get("EXAMPLE_DATA", "data")


def devices(request: Any) -> HttpResponse:
    given, user = request.POST, request.user
    if "end" in given:
        auth.logout(request)
    elif "others" in given and user.is_authenticated:
        store.delete_owner(user.pk, keep=[request.session])
    elif found := auth.authenticate(request, **{k: given.get(k) for k in ("username", "password")}):
        auth.login(request, found)
    if request.method == "POST":
        return redirect("/")
    rows = [
        (each.client, time.ctime(each.last_seen_at), key.startswith(request.session.handle))
        for key, each in (store.find(user.pk) if user.is_authenticated else ())
    ]
    page = engines["django"].from_string(PAGE).render({"user": user, "devices": rows}, request)
    return HttpResponse(page, headers={"Cache-Control": "no-store"})


urlpatterns = [path("", devices)]
settings.configure(
    SECRET_KEY=os.environ["SESSION_SECRET"],
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    MIDDLEWARE=[
        "litesess.integrations.django.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{DATA}.sqlite3"}},
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    PASSWORD_HASHERS=["django.contrib.auth.hashers.ScryptPasswordHasher"],
    SESSION_ENGINE="litesess.integrations.django",
    LITESESS_PATH=DATA,
    LITESESS_CLIENT_INFO=True,  # the browser and the address of each device
)
application = get_wsgi_application()
call_command("migrate", verbosity=0)
users = auth.get_user_model().objects
for name in sorted(PASSWORDS.keys() - {user.get_username() for user in users.all()}):
    users.create_user(name, password=PASSWORDS[name])
