"""The middleware's options as type checkers see them; see :mod:`litesess.stores.keywords`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from datetime import timedelta

    from litesess.events import Event
    from litesess.stores.base import Store
    from litesess.web.cookie import CookieSettings
    from litesess.web.cookie.keywords import CookieKeywords
    from litesess.web.session import Session


class OptionalKeywords(TypedDict, total=False):
    """The options that have a default."""

    cookie_name: str | None
    cookie: (
        CookieSettings
        | CookieKeywords
        | Callable[[dict[str, Any]], CookieSettings | CookieKeywords | None]
        | None
    )
    save_uninitialized: bool
    resave: bool
    rolling: bool
    unset: Literal["keep", "destroy"] | None
    genid: Callable[[dict[str, Any]], str] | None
    trust_proxy: bool | int | None
    absolute_timeout: float | timedelta | None
    max_session_bytes: int
    cache_headers: bool
    owner_key: str | Callable[[Session], object] | None
    drop_at_login: list[str] | tuple[str, ...] | set[str] | frozenset[str]
    keep_on_error: bool
    client_info: bool
    on_event: Callable[[Event], object] | None
    if_unavailable: Literal["503", "raise", "anonymous"]
    environ_key: str
    clock: Callable[[], float]


class MiddlewareKeywords(OptionalKeywords):
    """The keywords of :class:`litesess.SessionMiddleware`, besides its app."""

    secret: str | bytes | Sequence[str | bytes]
    store: Store | str
