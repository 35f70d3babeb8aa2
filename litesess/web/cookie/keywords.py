"""The cookie's attributes as type checkers see them; see :mod:`litesess.stores.keywords`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, TypeAlias, TypedDict

Samesite: TypeAlias = Literal["strict", "lax", "none", "auto", "Strict", "Lax", "None"] | bool
Priority: TypeAlias = Literal["low", "medium", "high", "Low", "Medium", "High"]
Secure: TypeAlias = Literal["auto"] | bool


class CookieKeywords(TypedDict, total=False):
    """The keywords of :class:`litesess.CookieSettings`, and the keys of a mapping in its place."""

    max_age: float | timedelta | None
    expires: datetime | float | None
    path: str
    domain: str | None
    secure: Secure
    httponly: bool
    samesite: Samesite | None
    partitioned: bool
    priority: Priority | None
