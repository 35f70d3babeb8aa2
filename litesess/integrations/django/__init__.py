"""Django: ``SESSION_ENGINE = "litesess.integrations.django"``.

::

    INSTALLED_APPS = ["litesess.integrations.django", ...]
    MIDDLEWARE = ["litesess.integrations.django.SessionMiddleware", ...]  # in Django's place
    SESSION_ENGINE = "litesess.integrations.django"
    LITESESS_PATH = BASE_DIR / "sessions"

``request.session`` is Django's own, with its names; ``store`` is the store that the settings name,
by user: ``store.find(user.pk)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from litesess import lazy

if TYPE_CHECKING:
    from litesess.integrations.django.backend import SessionStore
    from litesess.integrations.django.configured import store
    from litesess.integrations.django.middleware import SessionMiddleware

__all__ = ["SessionMiddleware", "SessionStore", "store"]

_HOMES: Final = {
    "SessionMiddleware": "litesess.integrations.django.middleware",
    "SessionStore": "litesess.integrations.django.backend",
    "store": "litesess.integrations.django.configured",
}
_attribute = lazy.names(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    # Not at once: Django imports this to find its apps, before any of them may be used.
    return _attribute(name)
