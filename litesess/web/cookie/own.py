"""One session's cookie settings: the configured ones, with the app's changes for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar, overload

from litesess.errors import ConfigError
from litesess.web.cookie.settings import CookieSettings, check_name

if TYPE_CHECKING:
    from litesess.web.cookie.keywords import Priority, Samesite, Secure

#: 9999-12-31, the last day that a cookie date can name, in Unix seconds.
LAST_DATE: Final = 253_402_300_799

#: The name among a session's own settings that says that its id is to change at the next request.
ROTATION_DUE: Final = "rotate"

_UNCHANGED: Final = object()
#: The names among a session's own settings that are no attributes of the cookie.
_NO_ATTRIBUTES: Final = frozenset({"max_age", "expires", ROTATION_DUE})
_CHECKS: Final = {item.name: item.metadata["check"] for item in fields(CookieSettings)}


ValueT = TypeVar("ValueT")
GivenT = TypeVar("GivenT")


class _Attribute(Generic[ValueT, GivenT]):
    """A cookie attribute: as configured, unless the app set it on this session."""

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, cookie: None, _owner: type) -> _Attribute[ValueT, GivenT]: ...

    @overload
    def __get__(self, cookie: SessionCookie, _owner: type) -> ValueT: ...

    def __get__(self, cookie: SessionCookie | None, _owner: type) -> Any:
        if cookie is None:
            return self
        return cookie.changes.get(self._name, getattr(cookie.settings, self._name))

    def __set__(self, cookie: SessionCookie, value: GivenT) -> None:
        checked = _CHECKS[self._name](self._name, value)
        # The rules that bind attributes to each other hold for one session's cookie, too.
        if cookie.is_agreed():
            check_name(cookie.name, replace(cookie.own_settings(), **{self._name: checked}))
        cookie.change(self._name, checked)


class SessionCookie:
    """One session's cookie settings: the configured ones, with the app's changes for it.

    Only the changes are stored with the session; the rest follows the configuration.

    Attributes:
        path, domain, secure, httponly, samesite, partitioned, priority: see
            :class:`CookieSettings`; settable.
        original_max_age: the whole life, in seconds; ``max_age`` is the rest of it.
    """

    __slots__ = ("_clock", "_ends_at", "changes", "is_changed", "name", "settings")

    path: _Attribute[str, str] = _Attribute()
    domain: _Attribute[str | None, str | None] = _Attribute()
    secure: _Attribute[bool | Literal["auto"], Secure] = _Attribute()
    httponly: _Attribute[bool, bool] = _Attribute()
    samesite: _Attribute[str | None, Samesite | None] = _Attribute()
    partitioned: _Attribute[bool, bool] = _Attribute()
    priority: _Attribute[str | None, Priority | None] = _Attribute()

    def __init__(
        self,
        name: str,
        settings: CookieSettings,
        changes: Mapping[str, Any] | None,
        stored_until: float | None,
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        self.settings = settings
        self.changes = dict(changes or ())
        self.is_changed = False
        self._clock = clock
        self._ends_at = stored_until

    @property
    def original_max_age(self) -> float | None:
        """The whole life that a request gives the session, in seconds; None: see ``ttl``."""
        if "max_age" in self.changes or "expires" in self.changes:
            life: float | None = self.changes.get("max_age")
            return life
        return self.settings.max_age

    @property
    def max_age(self) -> float | None:
        """How much of that life remains, in seconds; settable."""
        end = self._end()
        return None if end is None else end - self._clock()

    @max_age.setter
    def max_age(self, value: float | timedelta | None) -> None:
        if value is not False and value in (0, timedelta(0)):
            # Of one session that is its end, as of a cookie; of all, it would be a mistake.
            self.expires = self._clock()
            return
        life = _CHECKS["max_age"]("max_age", value)
        if self.changes.pop("expires", None) is not None:
            self.is_changed = True
        self._ends_at = None
        self.change("max_age", life)

    @property
    def expires(self) -> datetime | None:
        """The end of the session without another request, in UTC; if you set it, it is final."""
        end = self._end()
        return None if end is None else datetime.fromtimestamp(min(end, LAST_DATE), timezone.utc)

    @expires.setter
    def expires(self, value: datetime | float | None) -> None:
        end = _CHECKS["expires"]("expires", value)
        if end is None:
            self.max_age = None
            return
        if self.changes.get("expires") != end:
            self.change("expires", end)
            self.change("max_age", max(end - self._clock(), 0.0))

    def is_agreed(self) -> bool:
        """Return whether the settings agree; stored ones can contradict a changed configuration."""
        try:
            check_name(self.name, self.own_settings())
        except ConfigError:
            return False
        return True

    def own_settings(self) -> CookieSettings:
        """Return the attributes as they are for this session."""
        own = {name: value for name, value in self.changes.items() if name not in _NO_ATTRIBUTES}
        return replace(self.settings, **own) if own else self.settings

    def change(self, name: str, value: object) -> None:
        """Set an attribute in which this session's cookie differs from the configured one."""
        if self.changes.get(name, _UNCHANGED) != value:
            self.changes[name] = value
            self.is_changed = True

    def note_rotation(self, *, is_due: bool) -> None:
        """Note whether the session's id is to change at the next request."""
        if is_due:
            self.changes[ROTATION_DUE] = True
        else:
            self.changes.pop(ROTATION_DUE, None)
        self.is_changed = True

    def ends_at(self, now: float) -> float | None:
        """Return when a session that is used at *now* expires; None: the store's ttl decides."""
        return life_ends_at(self.settings, self.changes, now)

    def stored(self, changes: Mapping[str, Any] | None, expires_at: float) -> None:
        """Take note of the session's own settings, and of its expiry, as they are stored now."""
        self.changes = dict(changes or ())
        self.is_changed = False
        self._ends_at = expires_at

    def _final(self) -> float | None:
        if "max_age" in self.changes:
            final: float | None = self.changes.get("expires")
            return final
        return self.settings.expires

    def _end(self) -> float | None:
        final = self._final()
        if final is not None:
            return final
        if self._ends_at is None or self.original_max_age is None:
            self._ends_at = self.ends_at(self._clock())
        return self._ends_at


def life_ends_at(settings: CookieSettings, own: Mapping[str, Any], now: float) -> float | None:
    """Return when a session that is used at *now* ends, in Unix seconds; None: by the store's ttl.

    Args:
        settings: the configured ones.
        own: the session's own settings, where they differ.
        now: in Unix seconds.
    """
    final: float | None
    life: float | None
    if "max_age" in own or "expires" in own:
        final, life = own.get("expires"), own.get("max_age")
    else:
        final, life = settings.expires, settings.max_age
    if final is not None:
        return final
    return None if life is None else now + life
