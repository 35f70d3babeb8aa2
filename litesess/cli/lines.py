"""A session as a line of JSON, exact: written by export, read by import.

::

    {"key":"<64 hex digits>","created_at":1.5,"expires_at":9.5,"last_seen_at":2.5,
     "owner":null,"cookie":null,"client":null,"data":{"user":"ada","seen":{"~datetime":"2026-01-31T10:00:00+01:00"}}}

``data`` is the stored typed JSON (:mod:`litesess.codec.tagged`), byte for byte.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final, NoReturn

from litesess import codec
from litesess.cli.exits import Exit, Failure
from litesess.errors import ConfigError, EncodeError
from litesess.ids import KEY_DIGITS, handle_of, is_key
from litesess.stores.base import Record
from litesess.web import ROTATION_DUE, CookieSettings

_REQUIRED: Final = ("key", "created_at", "expires_at", "data")
_OPTIONAL: Final = ("last_seen_at", "owner", "cookie", "client")
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_COOKIE_CHECKS: Final = {
    item.name: item.metadata["check"] for item in dataclasses.fields(CookieSettings)
}


class BadLine(Exception):  # it is the file's fault
    """A line does not have the form that export writes; the message shows no value of it."""


def written(key: str, record: Record) -> bytes:
    """Return a session as a line, with its newline.

    Raises:
        Failure: an instant of it is infinite or NaN, which JSON lacks.
    """
    for name in "created_at", "expires_at", "last_seen_at":
        seconds = getattr(record, name)
        if seconds is not None and not isfinite(seconds):
            raise Failure(Exit.FAILED, f"{name} of session {handle_of(key)} is no finite number")
    head = {
        "key": key,
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "last_seen_at": record.last_seen_at,
        "owner": record.owner,
    }
    cookie, client = _settings("cookie", record.cookie), _settings("client", record.client)
    data = b",".join(
        b"%b:%b" % (_encode(name).encode(), frame) for name, frame in record.frames.items()
    )
    return b'%b,"cookie":%b,"client":%b,"data":{%b}}\n' % (
        _encode(head).encode()[:-1],
        cookie,
        client,
        data,
    )


def _settings(name: str, settings: Mapping[str, Any] | None) -> bytes:
    return codec.encode(dict(settings), name) if settings else b"null"


def read(line: bytes) -> tuple[str, Record]:
    """Return the key and the session in a line, after a check of each part.

    Raises:
        BadLine: a part is missing, unknown or wrong.
    """
    fields = _parsed(line)
    missing = [name for name in _REQUIRED if name not in fields]
    if missing:
        raise BadLine(f"{missing[0]!r} is missing")
    unknown = [name for name in fields if name not in _REQUIRED + _OPTIONAL]
    if unknown:
        raise BadLine(f"{unknown[0]!r} is unknown")
    seen = fields.get("last_seen_at")
    record = Record(
        codec.Encoded(_frames(fields["data"])),
        _instant("created_at", fields["created_at"]),
        _instant("expires_at", fields["expires_at"]),
        _cookie(fields.get("cookie")),
        _owner(fields.get("owner")),
        client=_client(fields.get("client")),
        last_seen_at=None if seen is None else _instant("last_seen_at", seen),
    )
    return _key(fields["key"]), record


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise BadLine(f"is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise BadLine(f"is not JSON at character {error.pos}: {error.msg}") from None
    except (ValueError, RecursionError):  # a number of too many digits; too deep
        raise BadLine("holds a value that can't be read as JSON") from None
    if not isinstance(fields, dict):
        raise BadLine("is no JSON object")
    return fields


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadLine("names a member of an object twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise BadLine(f"holds {name}, which JSON lacks")


def _key(value: object) -> str:
    if not isinstance(value, str) or not is_key(value):
        raise BadLine(f"'key' is not {KEY_DIGITS} digits of 0-9 a-f")
    return value


def _instant(name: str, value: object) -> float:
    seconds = seconds_in(value)
    if seconds is None:
        raise BadLine(f"{name!r} is not a number of seconds")
    return seconds


def seconds_in(value: object) -> float | None:
    """Return *value* as seconds; None: it is no finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if isfinite(seconds) else None


def _owner(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadLine("'owner' is neither a string nor null")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadLine("'owner' has a lone surrogate") from None
    return value


def _cookie(value: object) -> Mapping[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise BadLine("'cookie' is neither an object nor null")
    settings = codec.decode(_frame("cookie", value))
    if not isinstance(settings, dict):
        raise BadLine("'cookie' is no object of settings")
    # Each for itself: together they depend on the app's configuration, too.
    for name, setting in settings.items():
        if name == ROTATION_DUE and setting is True:
            continue
        if name not in _COOKIE_CHECKS:
            raise BadLine(f"'cookie' has the unknown setting {name!r}")
        try:
            _COOKIE_CHECKS[name](name, setting)
        except ConfigError as error:
            raise BadLine(f"'cookie': {error}") from None
    return dict(settings)


def _client(value: object) -> Mapping[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise BadLine("'client' is neither an object of strings nor null")
    _frame("client", value)
    return value


def _frames(value: object) -> codec.Frames:
    if not isinstance(value, dict):
        raise BadLine("'data' is no object")
    try:
        return {codec.check_key(name): _frame(name, item) for name, item in value.items()}
    except EncodeError as error:
        raise BadLine(str(error)) from None


def _frame(name: str, value: object) -> bytes:
    """Return a value of typed JSON as the bytes that would be stored for it."""
    try:
        given = _encode(value).encode()
        frame = codec.encode(codec.decode(given), name)
    except EncodeError as error:
        raise BadLine(str(error)) from None
    except (ValueError, RecursionError):
        raise BadLine(f"the value of {name!r} can't be stored") from None
    # A value that decodes to other content, such as base64 with junk in it, was not written by
    # litesess; to import it would lose a part of it silently.
    if frame != given:
        raise BadLine(f"the value of {name!r} does not have the form that export writes")
    return frame
