"""PasteDeploy: ``use = egg:litesess`` as a filter, or as the filter around one app.

::

    [filter:sessions]
    use = egg:litesess
    secret = %(session_secret)s
    path = %(here)s/data
    cookie.max_age = 1209600
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from litesess.integrations.settings import from_settings
from litesess.web import SessionMiddleware

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def filter_factory(
    _global_settings: dict[str, str], **settings: Any
) -> Callable[[WSGIApplication], SessionMiddleware]:
    """Return a function that wraps an app; an entry point of ``paste.filter_factory``.

    Raises:
        ConfigError: a setting is unknown, missing or wrong.
    """
    store, options = from_settings(settings)
    return lambda app: SessionMiddleware(app, store=store, **options)


def filter_app_factory(
    app: WSGIApplication, global_settings: dict[str, str], **settings: Any
) -> SessionMiddleware:
    """Wrap *app*; an entry point of ``paste.filter_app_factory``.

    Raises:
        ConfigError: a setting is unknown, missing or wrong.
    """
    return filter_factory(global_settings, **settings)(app)
