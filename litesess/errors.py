"""The exceptions of litesess: one tree, so that a handler can be broad or narrow."""

from __future__ import annotations

from typing import Any

_LONGEST_PATH = 80
_LONGEST_REASON = 100


def _loggable(text: str, longest: int) -> str:
    """Return *text* in printable ASCII, cut in its middle to *longest* characters."""
    half = longest // 2
    if len(text) > longest:  # before it is escaped, which makes it up to ten times as long
        text = f"{text[:half]}...{text[-half:]}"
    escaped = text if text.isascii() and text.isprintable() else ascii(text)[1:-1]
    if len(escaped) <= longest:
        return escaped
    return f"{escaped[: half - 2]}...{escaped[-half + 1 :]}"


class LitesessError(Exception):
    """Root of everything that litesess raises on purpose.

    Each can be copied and pickled, as pools of processes do with the error of a task.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by the constructor, which may take the parts of which the message was made.
        return self.__class__.__new__, (self.__class__, *self.args), self.__dict__


class ConfigError(LitesessError, ValueError):
    """An option is unknown, malformed or contradictory; the message names the cure."""


class ConfigTypeError(ConfigError, TypeError):
    """An option has the wrong type or an unknown name; also caught as ``TypeError``."""


class EncodeError(LitesessError, TypeError):
    """A session value can't be stored.

    A client often chooses a key, and errors end up in logs.  So the message is ASCII without
    control characters, and has at most 200 characters.  Source: CWE-117.

    Attributes:
        key_path: the value's path, such as ``cart[2].price``; escaped, and cut in its middle
            if it is long.
    """

    def __init__(self, key_path: str, reason: str) -> None:
        self.key_path = _loggable(key_path, _LONGEST_PATH)
        super().__init__(f"session value {self.key_path} {_loggable(reason, _LONGEST_REASON)}")


class SessionGone(LitesessError):
    """The session was destroyed, has expired or was replaced; it can't be written any more."""


class HeadersSent(LitesessError):
    """The change needs a ``Set-Cookie``, but the response's headers are already sent."""


class VersionConflict(LitesessError):
    """The stored session is not the version that the caller asked for."""


class StoreError(LitesessError):
    """The store can't work; a missing session is never one of these."""


class StoreClosed(StoreError):
    """The store was closed; make a new one."""


class StoreLocked(StoreError):
    """Another process has locked the store and did not release it within ``lock_timeout``.

    Attributes:
        path: the store's directory.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"store {path} {reason}")
        self.path = path


class StoreFailed(StoreError):
    """A write or sync failed and may have reached the disk or not; the store stops writing."""


class StoreFull(StoreError):
    """The disk is full: the write left no trace, and you can still read and delete."""


class LimitReached(StoreFull):
    """``max_sessions`` is reached, and no session can be deleted for the new one."""


class StoreReadOnly(StoreError):
    """The directory or its file system can't be written."""


class StoreUnavailable(StoreError):
    """The store can't be reached now; it may have carried out the call all the same."""


class Corruption(StoreError):
    """Bytes on the disk differ from the bytes that litesess wrote.

    Attributes:
        path: the damaged file.
        offset: the position of the damage in the file, in bytes.
        reason: the kind of damage.
    """

    def __init__(self, path: str, offset: int, reason: str) -> None:
        super().__init__(f"{path} offset {offset}: {reason}")
        self.path = path
        self.offset = offset
        self.reason = reason


class DecryptError(StoreError):
    """The encryption key is wrong, or a file was tampered with; the error can't tell which."""
