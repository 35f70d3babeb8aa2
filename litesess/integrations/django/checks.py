"""Django's system checks of the settings."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware as DjangosMiddleware
from django.core import checks
from django.utils.module_loading import import_string

from litesess.integrations.django.backend import SessionStore
from litesess.integrations.django.config import problems_of
from litesess.integrations.django.middleware import SessionMiddleware

_ENGINE: Final = "litesess.integrations.django"
_MIDDLEWARE: Final = "litesess.integrations.django.SessionMiddleware"
_SERIALIZER: Final = "django.contrib.sessions.serializers.JSONSerializer"


def check_settings(**_which: Any) -> list[checks.CheckMessage]:
    """Return the errors in the settings, and warnings of settings without effect."""
    found: list[checks.CheckMessage] = []
    if not _is_engine():
        found.append(
            checks.Warning(
                f"SESSION_ENGINE is {settings.SESSION_ENGINE!r}, so sessions are not kept by"
                " litesess.",
                hint=f"Set SESSION_ENGINE = {_ENGINE!r}.",
                id="litesess.W001",
            )
        )
        return found
    found += [
        checks.Error(f"{problem[:1].upper()}{problem[1:]}.", id="litesess.E001")
        for problem in problems_of(settings)
    ]
    if settings.SESSION_SERIALIZER != _SERIALIZER:
        found.append(
            checks.Warning(
                "SESSION_SERIALIZER is not used: values are stored as typed JSON.",
                hint="Leave it out.",
                id="litesess.W002",
            )
        )
    if _has_djangos_middleware():
        found.append(
            checks.Warning(
                "With Django's SessionMiddleware a request that is late can take the place of the"
                " cookie that a login has just set.",
                hint=f"Name {_MIDDLEWARE!r} in its place in MIDDLEWARE.",
                id="litesess.W003",
            )
        )
    return found


def _is_engine() -> bool:
    return issubclass(import_string(f"{settings.SESSION_ENGINE}.SessionStore"), SessionStore)


def _has_djangos_middleware() -> bool:
    for path in settings.MIDDLEWARE:
        try:
            item = import_string(path)
        except ImportError:
            continue  # of which Django tells by itself
        if isinstance(item, type) and issubclass(item, DjangosMiddleware):
            return not issubclass(item, SessionMiddleware)
    return False
