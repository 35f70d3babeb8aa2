"""Opens the sessions of an app's requests, and lets the collector begin."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, Final

from litesess.errors import ConfigError
from litesess.stores import collector
from litesess.stores.memory import MemoryStore
from litesess.web.cookie import in_scope
from litesess.web.rules import Rules
from litesess.web.session import Session, visit_of
from litesess.web.strays import scope_of
from litesess.web.visit import Visit

#: Options that are the same, or need not be, where two middlewares have the same sessions.
_OF_BOTH: Final = frozenset({"store", "secret", "cookie_name", "environ_key", "owner_key", "clock"})


class Manager(Rules):
    """Opens the sessions of one app."""

    #: The class of a request's use of its session; an integration may have another.
    visit_class: ClassVar[type[Visit]] = Visit
    session_class: ClassVar[type[Session]] = Session

    def __init__(self, options: Mapping[str, Any], **clocks: Any) -> None:
        """Take the options of :class:`litesess.web.rules.ManagerOptions`; see :class:`Rules`.

        Raises:
            ConfigError: one is unknown, missing or wrong, or two contradict each other.
        """
        super().__init__(options, **clocks)
        self._is_limited_to_path = self.fixed_settings is None or self.fixed_settings.path != "/"
        self._watched_by = 0  # process id
        self._like: Rules | None = None  # of a middleware around, with the same sessions
        if self.options.on_event is not None:
            self.store.listeners.append(self.options.on_event)

    def close(self) -> None:
        """Close the store; its expired sessions are no longer collected."""
        collector.forget(self.store)
        self.store.close()

    def open(self, environ: dict[str, Any]) -> Session | None:
        """Return the session of a request, not loaded yet; None outside the cookie's path."""
        visit = self.begin(environ)
        return None if visit is None else self.session_class(visit)

    def open_anywhere(self, environ: dict[str, Any]) -> Session:
        """Return the session of a request on any path, not loaded yet."""
        self._prepare(environ)
        return self.session_class(self.visit_class(self, environ))

    def begin(self, environ: dict[str, Any]) -> Visit | None:
        """Return a request's use of its session; None outside the cookie's path."""
        if self._is_limited_to_path or self._watched_by != os.getpid():
            self._prepare(environ)
            path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
            if not in_scope(path or "/", self.settings_of(environ).path):
                return None
        return self.visit_class(self, environ)

    def outer(self, environ: Mapping[str, Any]) -> Visit | None:
        """Return the use of the session by a middleware around, if this app is to share it.

        Not if that session's request is over, as the environ was handed in again; nor if the
        middleware around has another store, cookie or secret.

        Raises:
            ConfigError: the two set the same cookie, for different sessions.
        """
        session = environ.get(self.environ_key)
        if not isinstance(session, Session):
            return None
        visit = visit_of(session)
        return visit if not visit.is_over and self._is_shared(visit) else None

    def make_room(self, environ: dict[str, Any]) -> dict[str, Any] | None:
        """Return an environ for a new session, if *environ* holds no session that can be used.

        None: use the session there, or the object that the app has put there.

        Raises:
            ConfigError: as :meth:`outer` does.
        """
        key = self.environ_key
        found = environ[key]
        if isinstance(found, Session) and not visit_of(found).is_over:
            if self._is_shared(visit_of(found)):
                return None
            # A copy: the middleware around finds its own session where it was.
            return {name: value for name, value in environ.items() if name != key}
        if found is not None and not isinstance(found, Session):
            return None
        del environ[key]
        return environ

    def _is_shared(self, visit: Visit) -> bool:
        """Return whether *visit*, of a middleware around, is of the same sessions as this app's."""
        rules = visit.rules
        if rules is self or rules is self._like:
            return True
        is_same = rules.store.place == self.store.place
        is_same = is_same and rules.options.secret == self.options.secret
        if is_same and rules.cookie_names == self.cookie_names:
            self._warn_of_options(rules)
            self._like = rules
            return True
        self._check_cookie(visit)
        return False

    def _warn_of_options(self, around: Rules) -> None:
        idle = [
            item.name
            for item in fields(self.options)
            if item.name not in _OF_BOTH
            and getattr(self.options, item.name) != getattr(around.options, item.name)
        ]
        if idle:
            self.warn_once(
                "the session is that of a middleware around this app, whose options count; these"
                f" of the app's own do not: {', '.join(idle)}"
            )

    def _check_cookie(self, visit: Visit) -> None:
        """Raise :class:`ConfigError` if the one cookie would be overwritten by the other."""
        around, environ = visit.rules, visit.environ
        common = [name for name in self.cookie_names if name in around.cookie_names]
        scopes = [
            scope_of(settings.domain, settings.path)
            for settings in (around.settings_of(environ), self.settings_of(environ))
        ]
        if common and scopes[0] == scopes[1]:
            raise ConfigError(
                f"a session middleware around this one sets a cookie {common[-1]!r}, too, with"
                " another store or secret; give one of them another cookie_name, and another"
                f" environ_key than {self.environ_key!r} if the app is to see both sessions"
            )

    def _prepare(self, environ: dict[str, Any]) -> None:
        if self._watched_by != os.getpid():
            self._watch(environ)
        if callable(self.options.cookie):
            # Once per request, and its errors before the app runs.
            environ[self._settings_key] = self.ask_settings(environ)

    def _watch(self, environ: Mapping[str, Any]) -> None:
        """At the first request of a process: let the collector begin."""
        self._watched_by = os.getpid()
        collector.watch(self.store)
        if environ.get("wsgi.multiprocess") and isinstance(self.store, MemoryStore):
            self.warn_once(
                "MemoryStore is not shared, but this server runs several processes: users will"
                " lose their sessions at random; use WALStore"
            )
