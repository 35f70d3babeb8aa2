"""Opens the sessions of an app's requests, and lets the collector begin."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from litesess.stores import collector
from litesess.stores.memory import MemoryStore
from litesess.web.cookie import in_scope
from litesess.web.rules import Rules
from litesess.web.session import Session
from litesess.web.visit import Visit


class Manager(Rules):
    """Opens the sessions of one app."""

    #: What a request's use of its session is; an integration may have another.
    visit_class: ClassVar[type[Visit]] = Visit
    session_class: ClassVar[type[Session]] = Session

    def __init__(self, options: Mapping[str, Any], **clocks: Any) -> None:
        """Take the options of :class:`litesess.web.rules.ManagerOptions`; see :class:`Rules`.

        Raises:
            ConfigError: one is unknown, missing or wrong, or two contradict each other.
        """
        super().__init__(options, **clocks)
        self._is_limited_to_path = self._settings is None or self._settings.path != "/"
        self._watched_by = 0  # process id
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
        """Return the session of a request, not loaded yet, whatever its path."""
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

    def _prepare(self, environ: dict[str, Any]) -> None:
        if self._watched_by != os.getpid():
            self._watch(environ)
        if self._settings is None:
            # Once per request, and its errors before the app runs.
            environ[self._settings_key] = self.settings_of(environ)

    def _watch(self, environ: Mapping[str, Any]) -> None:
        """At the first request of a process: let the collector begin."""
        self._watched_by = os.getpid()
        collector.watch(self.store)
        if environ.get("wsgi.multiprocess") and isinstance(self.store, MemoryStore):
            self.warn_once(
                "MemoryStore is not shared, but this server runs several processes: users will"
                " lose their sessions at random; use WALStore"
            )
