"""Encryption keys: from a file, the environment or a prompt, never from the command line.

Whether what is given is a passphrase or 32 bytes says the store, whose key file tells by which it
is opened: nothing is guessed from how it looks.
"""

from __future__ import annotations

import argparse
import enum
import os
import re
import sys
from getpass import getpass
from typing import Final, NamedTuple

from litesess.cli import reaching
from litesess.cli.exits import Exit, Failure
from litesess.crypto import KEY_BYTES, EncryptionKey, encryption_key
from litesess.engine import key_file
from litesess.errors import ConfigError

VARIABLE: Final = "LITESESS_ENCRYPTION_KEY"
NEW_VARIABLE: Final = "LITESESS_NEW_ENCRYPTION_KEY"

_MOST_BYTES: Final = 1 << 16
_HEX: Final = re.compile(rb"[0-9A-Fa-f]{64}\Z")


class Kind(enum.Enum):
    """What an encryption key is."""

    PASSPHRASE = "a passphrase"  # noqa: S105  # words of a message, not a passphrase
    RAW = "32 bytes"


class Given(NamedTuple):
    """What was given as an encryption key, and where; no repr shows it."""

    source: str
    content: bytes

    def __repr__(self) -> str:
        return f"<Given {self.source}>"


def kind_of(path: str, collection: str) -> Kind | None:
    """Return what opens the store in the directory *path*; None if it is not encrypted.

    Raises:
        Corruption: its key file is damaged.
        StoreError: its key file is none of litesess's.
        OSError: that can't be read.
    """
    found = key_file(path, collection)
    if found is None:
        return None
    return Kind.RAW if found.is_raw else Kind.PASSPHRASE


def given(options: argparse.Namespace) -> Given | None:
    """Return the encryption key that the options or the environment name."""
    return _named("--key-file", options.key_file, VARIABLE)


def new_given(options: argparse.Namespace) -> Given | None:
    """Return the new encryption key that the options or the environment name."""
    return _named("--new-key-file", options.new_key_file, NEW_VARIABLE)


def _named(option: str, file: str | None, variable: str) -> Given | None:
    if file is not None:
        try:
            with reaching.reading(file) as stream:
                return Given(f"{option} {file}", stream.read(_MOST_BYTES))
        except OSError as error:
            raise Failure(Exit.KEY, f"{option} {file}: {error.strerror}") from error
    content = os.environb.get(variable.encode())
    return Given(variable, content) if content else None


def key_for(
    kind: Kind | None, given: Given | None, path: str, *, is_new: bool = False
) -> EncryptionKey | None:
    """Return what opens the store at *path*; asked for at the terminal if it was not given.

    Args:
        kind: of the key; None: the store is not encrypted.
        given: what was, if anything.
        path: of the store, for messages.
        is_new: it would have been given as the new key.

    Raises:
        Failure: there is none, or it is no key of that kind.
    """
    if kind is None:
        # None will open it, but the store knows whether it is in the clear or its key file is gone.
        return None if given is None else EncryptionKey(given.content.ljust(KEY_BYTES)[:KEY_BYTES])
    if given is None and sys.stdin.isatty():
        given = Given("what was typed", _ask(f"{_LABELS[kind]} of {path}: "))
    if given is None:
        how = (NEW_VARIABLE, "--new-key-file") if is_new else (VARIABLE, "--key-file")
        raise Failure(
            Exit.KEY, f"{path} is encrypted, by {kind.value}; set {how[0]}, or give {how[1]}"
        )
    return encryption_key(given.source, value_of(given, kind))


def new_key(options: argparse.Namespace, former: Kind | None, given: Given | None) -> str | bytes:
    """Return the passphrase or key that takes the place of one of the kind *former*.

    Raises:
        Failure: there is none, or it is no key of the kind wanted.
    """
    kind = options.kind or former or Kind.PASSPHRASE
    if given is None and sys.stdin.isatty():
        typed = _ask(f"new {_LABELS[kind]}: ")
        if _ask("once more: ") != typed:
            raise Failure(Exit.KEY, "the two differ; nothing was changed")
        given = Given("what was typed", typed)
    if given is None:
        raise Failure(
            Exit.KEY, f"no new encryption key was given; set {NEW_VARIABLE}, or give --new-key-file"
        )
    return value_of(given, kind)


_LABELS: Final = {Kind.PASSPHRASE: "passphrase", Kind.RAW: "key, 64 hex digits"}


def _ask(prompt: str) -> bytes:
    try:
        return getpass(prompt).encode("utf-8", "surrogateescape")
    except EOFError:
        raise Failure(Exit.KEY, "nothing was typed") from None


def value_of(given: Given, kind: Kind) -> str | bytes:
    """Return what was given as a key of that kind: a passphrase or 32 bytes.

    Raises:
        Failure: it is none.
    """
    value = _raw(given) if kind is Kind.RAW else _passphrase(given)
    try:
        encryption_key(given.source, value)
    except ConfigError as error:
        raise Failure(Exit.KEY, str(error)) from error
    return value


def _raw(given: Given) -> bytes:
    text = _line(given.content)
    if _HEX.match(text):
        return bytes.fromhex(text.decode())
    if len(given.content) == KEY_BYTES:
        return given.content
    raise Failure(
        Exit.KEY,
        f"{given.source} has {len(given.content)} bytes; this store's key is {KEY_BYTES} bytes,"
        f" given as they are or as {2 * KEY_BYTES} hex digits",
    )


def _passphrase(given: Given) -> str:
    try:
        return _line(given.content).decode()
    except UnicodeDecodeError:
        raise Failure(
            Exit.KEY, f"{given.source} is not UTF-8, and this store's key is a passphrase"
        ) from None


def _line(content: bytes) -> bytes:
    """Return *content* without the newline, one alone, that editors put behind it."""
    return content.removesuffix(b"\n").removesuffix(b"\r") if content[-1:] == b"\n" else content
