"""Server-side sessions for any WSGI app, with nothing to install beside it."""

from typing import TYPE_CHECKING

from litesess.errors import (
    ConfigError,
    Corruption,
    DecryptError,
    EncodeError,
    HeadersSent,
    LitesessError,
    SessionGone,
    StoreClosed,
    StoreError,
    StoreFailed,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
    StoreUnavailable,
    VersionConflict,
)
from litesess.lazy import names

if TYPE_CHECKING:
    from litesess.stores import MemoryStore, Record, Store, WALStore
    from litesess.web import CookieSettings, Session, SessionMiddleware

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "CookieSettings",
    "Corruption",
    "DecryptError",
    "EncodeError",
    "HeadersSent",
    "LitesessError",
    "MemoryStore",
    "Record",
    "Session",
    "SessionGone",
    "SessionMiddleware",
    "Store",
    "StoreClosed",
    "StoreError",
    "StoreFailed",
    "StoreFull",
    "StoreLocked",
    "StoreReadOnly",
    "StoreUnavailable",
    "VersionConflict",
    "WALStore",
    "__version__",
]

__getattr__ = names(
    __name__,
    {
        **dict.fromkeys(("CookieSettings", "Session", "SessionMiddleware"), "litesess.web"),
        **dict.fromkeys(("MemoryStore", "Record", "Store", "WALStore"), "litesess.stores"),
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
