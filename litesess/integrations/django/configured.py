"""The manager, and the store, that the settings name: one in each process."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from litesess.errors import ConfigError
from litesess.integrations.django.config import PREFIX, Settings
from litesess.integrations.django.session import DjangoManager
from litesess.stores import collector

if TYPE_CHECKING:
    from litesess.stores.base import Store


class _Configured:
    """The manager of a process, made when it is first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # Guards: _manager, _makes_the_store.
        self._manager: DjangoManager | None = None
        self._makes_the_store = False

    def manager(self) -> DjangoManager:
        """Return the manager; a forked child keeps its parent's, because the store allows that.

        Raises:
            ImproperlyConfigured: a setting is unknown, missing or wrong.
            StoreError: the store's files can't be used.
        """
        manager = self._manager
        return self._made() if manager is None else manager

    def _made(self) -> DjangoManager:
        with self._lock:
            if self._manager is None:
                read = Settings(settings)
                try:
                    self._manager = DjangoManager(read.open())
                except ConfigError as error:
                    raise ImproperlyConfigured(str(error)) from error
                self._makes_the_store = read.makes_the_store()
            return self._manager

    def forget(self, *, setting: str, **_signal: object) -> None:
        """Make another manager the next time, as a test has changed a setting of ours."""
        if not setting.startswith(PREFIX):
            return
        with self._lock:
            manager, self._manager = self._manager, None
        if manager is None:
            return
        if self._makes_the_store:
            manager.close()
        else:
            collector.forget(manager.store)


_configured: Final = _Configured()
manager: Final = _configured.manager
setting_changed.connect(_configured.forget)


class _StoreByName:
    """The store that the settings name, also after a test has changed them.

    Django's ``django.core.cache.cache`` is such a stand-in, too.
    """

    __slots__ = ("__weakref__",)

    __class__: Any = property(lambda _self: type(manager().store))

    def __getattr__(self, name: str) -> Any:
        return getattr(manager().store, name)

    def __len__(self) -> int:
        return len(manager().store)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return "<litesess.integrations.django.store>"


#: Where the sessions are kept.
store: Final = cast("Store", _StoreByName())
