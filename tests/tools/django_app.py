"""A Django project in one module, with its sessions in litesess.

Used in the tests' own process, and served by real servers: ``django_app:application``.
``DJANGO_DATA`` is its directory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import django
from django.conf import settings
from django.contrib import auth, messages
from django.http import HttpResponse, JsonResponse
from django.urls import path, resolve

DATA = Path(os.environ.get("DJANGO_DATA") or mkdtemp(prefix="litesess-django-"))
OWN_MIDDLEWARE = "litesess.integrations.django.SessionMiddleware"
DJANGOS_MIDDLEWARE = "django.contrib.sessions.middleware.SessionMiddleware"
#: In the tests' own process: the work done while the request of that name is under way.
MEANWHILE: dict[str, Callable[[], object]] = {}


def middleware(session: str) -> list[str]:
    """Return the project's middleware, with this one for sessions."""
    return [
        session,
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ]


if not settings.configured:
    settings.configure(
        SECRET_KEY="not used by litesess",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=[
            "litesess.integrations.django",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",  # for clearsessions
        ],
        MIDDLEWARE=middleware(os.environ.get("DJANGO_MIDDLEWARE", OWN_MIDDLEWARE)),
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA / "users.sqlite3"}
        },
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        MESSAGE_STORAGE="django.contrib.messages.storage.session.SessionStorage",
        USE_TZ=True,
        SESSION_ENGINE="litesess.integrations.django",
        LITESESS_PATH=DATA / "sessions",
        LITESESS_CLIENT_INFO=True,
    )
    django.setup()


def make_users() -> None:
    """Make the tables, and the users ada and alan; their passwords are their names."""
    from django.core.management import call_command  # noqa: PLC0415  # after the settings

    call_command("migrate", verbosity=0)
    users = auth.get_user_model().objects
    for name in "ada", "alan":
        if not users.filter(username=name).exists():
            users.create_user(name, password=name)


def look(request: Any) -> HttpResponse:
    session = request.session
    user = request.user.get_username() if request.user.is_authenticated else None
    seen = {key: value for key, value in session.items() if not key.startswith("_")}
    return JsonResponse({"user": user, "id": session.session_key, "values": seen})


def put(request: Any, key: str, value: str) -> HttpResponse:
    request.session[key] = value
    return look(request)


def append(request: Any, key: str, value: str) -> HttpResponse:
    request.session.setdefault(key, []).append(value)
    return look(request)


def log_in(request: Any, name: str) -> HttpResponse:
    auth.login(request, auth.authenticate(request, username=name, password=name))
    return look(request)


def log_out(request: Any) -> HttpResponse:
    auth.logout(request)
    return look(request)


def change_password(request: Any, word: str) -> HttpResponse:
    request.user.set_password(word)
    request.user.save()
    auth.update_session_auth_hash(request, request.user)
    return look(request)


def cycle(request: Any) -> HttpResponse:
    request.session.cycle_key()
    return look(request)


def say(request: Any, text: str) -> HttpResponse:
    messages.info(request, text)
    return look(request)


def read(request: Any) -> HttpResponse:
    return JsonResponse({"said": [str(each) for each in messages.get_messages(request)]})


def count(request: Any) -> HttpResponse:
    def one_more(session: Any) -> int:
        session["count"] = session.get("count", 0) + 1
        return session["count"]

    return JsonResponse({"count": request.session.atomic(one_more)})


def fail(request: Any, status: int) -> HttpResponse:
    request.session["failed"] = status
    return HttpResponse(status=status)


def expire(request: Any, seconds: int) -> HttpResponse:
    request.session.set_expiry(seconds)
    return look(request)


def bare(_request: Any) -> HttpResponse:
    return HttpResponse("no session")


def held(request: Any, name: str, rest: str) -> HttpResponse:
    """Load the session, let other requests go first, and then do the work that *rest* names."""
    dict(request.session.items())
    if name in MEANWHILE:
        MEANWHILE.pop(name)()
    else:
        (DATA / f"{name}.arrived").touch()
        while not (DATA / f"{name}.go").exists():
            time.sleep(0.005)
    match = resolve(f"/{rest}")
    return match.func(request, *match.args, **match.kwargs)


async def counted(request: Any) -> HttpResponse:
    session = request.session
    await session.aset("count", await session.aget("count", 0) + 1)
    return JsonResponse({"count": await session.aget("count")})


async def cycled(request: Any) -> HttpResponse:
    await request.session.acycle_key()
    return JsonResponse({"id": request.session.session_key})


async def flushed(request: Any) -> HttpResponse:
    await request.session.aflush()
    return JsonResponse({"id": request.session.session_key})


urlpatterns = [
    path("look", look),
    path("set/<key>/<value>", put),
    path("append/<key>/<value>", append),
    path("login/<name>", log_in),
    path("logout", log_out),
    path("password/<word>", change_password),
    path("cycle", cycle),
    path("say/<text>", say),
    path("read", read),
    path("count", count),
    path("fail/<int:status>", fail),
    path("expire/<int:seconds>", expire),
    path("bare", bare),
    path("held/<name>/<path:rest>", held),
    path("async/count", counted),
    path("async/cycle", cycled),
    path("async/flush", flushed),
]


def application(environ: Any, start_response: Any) -> Any:
    """Serve a request; the project's handler is made at the first one."""
    return _handler()(environ, start_response)


def _handler() -> Any:
    global _made  # once per process
    if _made is None:
        from django.core.wsgi import get_wsgi_application  # noqa: PLC0415  # once, where it serves

        _made = get_wsgi_application()
    return _made


_made: Any = None
