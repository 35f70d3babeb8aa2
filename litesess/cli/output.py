"""Output: lines for people, or with ``--json`` one JSON object on a line."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from math import isfinite
from typing import Any, Final, TextIO

_UNITS: Final = ("KiB", "MiB", "GiB", "TiB")
_USERINFO: Final = re.compile(r"://.*@", re.DOTALL)
_OPTIONS: Final = re.compile(r"\b(username|password)=[^&\s'\"]*", re.IGNORECASE)
_LAST_SECOND: Final = 253_402_300_799.0  # of the year 9999


def print_facts(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print facts, each on a line or as one JSON object.

    Args:
        facts: values by name; with ``--json`` under these names.
        as_json: print an object; otherwise a line for each that is not None.
    """
    if as_json:
        print_json(facts)
        return
    said = {name: in_words(name, value) for name, value in facts.items() if value is not None}
    width = max(map(len, said), default=0)
    for name, words in said.items():
        print_line(f"{bold(name.replace('_', ' ').ljust(width))}  {words}")


def report(options: argparse.Namespace, words: str, **facts: Any) -> None:
    """Print the result of a command: *facts* as a JSON object with ``--json``, else *words*."""
    if options.json:
        print_json(facts)
    else:
        print_line(words)


def print_row(cells: Iterable[tuple[str, int]]) -> None:
    """Print a line of a table; each cell is at least so wide, and the last one as it is."""
    print_line("  ".join(text.ljust(width) for text, width in cells).rstrip())


def print_line(text: str) -> None:
    """Print a line that is fit for the terminal."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def print_json(value: Mapping[str, Any]) -> None:
    """Print a JSON object on a line, in ASCII: it passes any terminal and locale.

    JSON has no infinity and no NaN: null stands for them.
    """
    sys.stdout.write(json.dumps(_finite(value), allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def in_words(name: str, value: object) -> str:
    """Return a value as people read it; its name tells its unit."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_at") and isinstance(value, (int, float)):
        return instant(value)
    if name.endswith("bytes") and isinstance(value, int):
        return size(value)
    if isinstance(value, Mapping):
        pairs = (f"{key}={printable(str(item))}" for key, item in value.items() if item is not None)
        return ", ".join(pairs)
    return printable(str(value))


def instant(seconds: float) -> str:
    """Return Unix seconds as a date and time in UTC, which sorts as text."""
    if not 0 <= seconds <= _LAST_SECOND:
        return f"{seconds:g} s"
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")


def size(count: int) -> str:
    """Return a number of bytes in the unit that suits it."""
    if count < 1024:
        return f"{count} B"
    amount = float(count)
    for unit in _UNITS:
        amount /= 1024
        if amount < 1024 or unit == _UNITS[-1]:
            break
    return f"{amount:.1f} {unit}"


def counted(count: int, noun: str) -> str:
    """Return ``1 session`` or ``2 sessions``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def printable(text: str) -> str:
    """Return *text* with each character escaped that could steer a terminal or break a line.

    Owners, keys and user agents come from the app's users.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def without_secrets(text: str) -> str:
    """Return *text* without the user and password of each URL in it."""
    return _OPTIONS.sub(r"\1=***", _USERINFO.sub("://***@", text))


def bold(text: str) -> str:
    """Return *text* in bold, where that can be seen."""
    return f"\x1b[1m{text}\x1b[0m" if has_colour(sys.stdout) else text


def has_colour(stream: TextIO) -> bool:
    """Return whether *stream* is a terminal that shows colours.

    Source: https://no-color.org
    """
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def is_terminal(stream: TextIO) -> bool:
    """Return whether *stream* is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"
