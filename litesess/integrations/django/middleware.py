"""Django's session middleware, which also serves a page if the session has ended meanwhile."""

from __future__ import annotations

from typing import Any

from django.contrib.sessions.exceptions import SessionInterrupted
from django.contrib.sessions.middleware import SessionMiddleware as DjangosMiddleware
from django.http import HttpResponse
from django.utils.cache import patch_vary_headers

from litesess.errors import StoreUnavailable
from litesess.integrations.django.backend import SessionStore
from litesess.integrations.django.configured import manager
from litesess.web import REFUSED


class SessionMiddleware(DjangosMiddleware):
    """The middleware to name in ``MIDDLEWARE`` in place of Django's."""

    def __init__(self, get_response: Any) -> None:
        """Take the rest of the project.

        Raises:
            ImproperlyConfigured: a setting is unknown, missing or wrong.
            StoreError: the store's files can't be used.
        """
        super().__init__(get_response)
        if issubclass(self.SessionStore, SessionStore):
            manager()  # its errors at the start, not with the first request

    def process_request(self, request: Any) -> None:
        """Give the request its session, not loaded yet."""
        super().process_request(request)
        if isinstance(request.session, SessionStore):
            request.session.come_by(request.META)

    def process_response(self, request: Any, response: Any) -> Any:
        """Store the session, and tell the client of it.

        If the session has ended or got another id meanwhile, no cookie is sent: the browser may
        already have the cookie that a login has just set.
        """
        session = getattr(request, "session", None)
        if not isinstance(session, SessionStore):
            return super().process_response(request, response)
        if session.excuses(response.status_code):
            return _refused(response)
        if session.is_unheard_of():
            return _varying(session, response)
        try:
            return super().process_response(request, response)
        except SessionInterrupted:
            return _varying(session, response)
        except StoreUnavailable:
            if not session.excuses(500):
                raise
            return _refused(HttpResponse("Service Unavailable\n", content_type="text/plain"))


def _varying(session: SessionStore, response: Any) -> Any:
    if session.accessed:
        patch_vary_headers(response, ("Cookie",))
    return response


def _refused(response: Any) -> Any:
    response.status_code = 503
    for name, value in REFUSED:
        response.headers[name] = value
    return response
