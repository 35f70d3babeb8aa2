"""The values that proxies and lazy texts stand for, without the packages that make them.

Examples are Werkzeug's ``LocalProxy``, Django's ``SimpleLazyObject`` and the lazy translations of
Babel's integrations.  ``isinstance`` and ``__class__`` describe the proxied value, but the
functions of C that encode a value need the value itself.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

#: A method of each type that its subclasses seldom replace.  A proxy passes the look-up of an
#: attribute on, so the method that it returns is bound to the proxied value.
_METHODS: Final[dict[type, str]] = {
    str: "encode",
    int: "bit_length",
    float: "is_integer",
    dict: "keys",
    list: "append",
    tuple: "count",
    set: "isdisjoint",
    frozenset: "isdisjoint",
    bytes: "hex",
    bytearray: "hex",
    date: "isoformat",
    Decimal: "is_nan",
}


def value_of(given: Any) -> Any:
    """Return the value that *given* stands for, or *given* itself if it is no proxy.

    The value is of a type that :mod:`litesess.codec` stores, or of a subclass.

    Raises:
        Exception: any error of the proxy's own, such as werkzeug's ``RuntimeError`` outside of a
            request.
    """
    seeming = given.__class__
    if seeming is type(given):
        return given if isinstance(given, str) else _text_of(given)
    if seeming is type(None):
        return None
    if issubclass(seeming, UUID):  # it has no public methods
        return UUID(int=given.int)
    for base, name in _METHODS.items():
        if issubclass(seeming, base):
            found = getattr(getattr(given, name), "__self__", None)
            return found if issubclass(type(found), base) else given
    return given


def _text_of(given: Any) -> Any:
    """Return the text that a lazy text stands for, or *given* itself if it is not lazy."""
    # Lazy texts have the methods of str, and need not claim to be of its class.
    if not hasattr(given, "encode") or not hasattr(given, "casefold"):
        return given
    encoded = given.encode("utf-8", "surrogatepass")
    return encoded.decode("utf-8", "surrogatepass") if type(encoded) is bytes else given
