"""Encryption keys: from a file, the environment or a prompt, never from the command line.

The store's key file says whether a passphrase or 32 bytes open it, and the given key is read as
that: nothing is guessed from its form.
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
from litesess.errors import ConfigError

VARIABLE: Final = "LITESESS_ENCRYPTION_KEY"
NEW_VARIABLE: Final = "LITESESS_NEW_ENCRYPTION_KEY"
#: Why the key of a store in Redis can't be changed, and the way to do without.
NOT_IN_REDIS: Final = (
    "in Redis, copy the sessions to another prefix with a new key: litesess copy --create"
    " --new-key-file FILE redis://HOST/ redis://HOST/?prefix=PREFIX"
)

_MOST_BYTES: Final = 1 << 16
_HEX: Final = re.compile(rb"[0-9A-Fa-f]{64}\Z")


class Kind(enum.Enum):
    """The kind of an encryption key."""

    PASSPHRASE = "a passphrase"  # noqa: S105  # names the kind in messages, and is no passphrase
    RAW = "32 bytes"


class Given(NamedTuple):
    """The bytes given as an encryption key, and their source; no repr shows them."""

    source: str
    content: bytes

    def __repr__(self) -> str:
        return f"<Given {self.source}>"


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
    """Return the key that opens a store; asked for at the terminal if it was not given.

    Args:
        kind: of the key; None: the store is not encrypted.
        given: the key, if it was given.
        path: the store's address in messages.
        is_new: it was to be given as the new key.

    Raises:
        Failure: no key was given, or the key is of another kind.
    """
    if kind is None:
        # No key can open it, but pass one on so that the store can say whether it is unencrypted
        # or its key file is missing.
        return None if given is None else EncryptionKey(given.content.ljust(KEY_BYTES)[:KEY_BYTES])
    if given is None and sys.stdin.isatty():
        given = Given("what was typed", _ask(f"{_LABELS[kind]} of {path}: "))
    if given is None:
        how = (NEW_VARIABLE, "--new-key-file") if is_new else (VARIABLE, "--key-file")
        raise Failure(
            Exit.KEY, f"{path} is encrypted, by {kind.value}; set {how[0]}, or give {how[1]}"
        )
    return encryption_key(given.source, value_of(given, kind))


def needed(kind: Kind | None, path: str) -> Kind:
    """Return the kind of the key that opens the store at *path*.

    Raises:
        Failure: the store is not encrypted.
    """
    if kind is None:
        raise Failure(
            Exit.KEY,
            f"{path} is not encrypted; to encrypt it, import an export of it into a new store",
        )
    return kind


def new_key(options: argparse.Namespace, former: Kind | None, given: Given | None) -> str | bytes:
    """Return the new passphrase or key of a store with a key of the kind *former*.

    Raises:
        Failure: no key was given, or the key is of another kind.
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
    """Return the given bytes as a key of that kind: a passphrase or 32 bytes.

    Raises:
        Failure: they are none.
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
    """Return *content* without the one newline that editors put at its end."""
    return content.removesuffix(b"\n").removesuffix(b"\r") if content[-1:] == b"\n" else content
