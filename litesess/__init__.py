"""Server-side sessions for any WSGI app, with nothing to install beside it."""

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
