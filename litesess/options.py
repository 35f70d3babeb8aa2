"""Options, declared once: a frozen dataclass for each subject, with the rules in its fields.

From a declaration come the keywords with their defaults, the checks, the error that names the
nearest known option, and the README's table.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from math import isfinite
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from litesess.advice import suggestion
from litesess.errors import ConfigError, ConfigTypeError

Check = Callable[[str, Any], Any]

_REQUIRED = object()


def option(
    default: Any, doc: str, *, check: Check, secret: bool = False, shown: str | None = None
) -> Any:
    """Declare an option: a field of a frozen dataclass that inherits :class:`Options`.

    Args:
        default: its value when it is not given, in the form a user would write.
        doc: its effect and its unit; a cell of the README's table.
        check: takes the option's name and the given value; returns the value to use, or raises.
        secret: keep the value out of reprs.
        shown: the default in the README's table; None: its source.
    """
    metadata = {"doc": doc, "check": check, "shown": shown}
    if default is _REQUIRED:
        return field(repr=not secret, metadata=metadata)
    return field(default=default, repr=not secret, metadata=metadata)


def required(doc: str, *, check: Check, secret: bool = False) -> Any:
    """Declare an option that has no default; see :func:`option`."""
    return option(_REQUIRED, doc, check=check, secret=secret)


@dataclass(frozen=True, kw_only=True)
class Options:
    """The base class of declarations; it checks each option when an instance is made."""

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = item.metadata["check"](item.name, getattr(self, item.name))
            object.__setattr__(self, item.name, value)
        self.check_agreement()

    def check_agreement(self) -> None:
        """Raise :class:`ConfigError` if two options contradict each other."""


OptionsT = TypeVar("OptionsT", bound=Options)


def build(cls: type[OptionsT], given: Mapping[str, Any], subject: str = "") -> OptionsT:
    """Return the options that *given* names, checked.

    Args:
        cls: a declaration.
        given: option names and values.
        subject: the part that has the options, for the error, such as ``"cookie "``.

    Raises:
        ConfigError: a name is unknown or missing, a value is wrong, or two contradict each other.
    """
    fields = dataclasses.fields(cls)
    known = [item.name for item in fields]
    for name in given:
        if name not in known:
            raise ConfigTypeError(f"unknown {subject}option {name!r}{suggestion(name, known)}")
    for item in fields:
        if item.default is dataclasses.MISSING and item.name not in given:
            raise ConfigError(f"{subject}option {item.name!r} is required: {item.metadata['doc']}")
    return cls(**given)


_WORDS: Final = {
    "true": True, "yes": True, "on": True, "false": False, "no": False, "off": False,
}  # fmt: skip


def parsed(cls: type[Options], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of *cls* in *given*, with text converted to each option's type.

    Args:
        cls: a declaration.
        given: option names and values; a value that is not text is kept as it is, and names
            that *cls* does not have are left out.

    This function refuses nothing: :func:`build` does, because it knows each option's rules.
    """
    hints = get_type_hints(cls)
    return {
        item.name: _parsed(given[item.name], hints[item.name])
        for item in dataclasses.fields(cls)
        if item.name in given
    }


def _parsed(value: Any, hint: Any) -> Any:
    """Return the text *value* as a value of the type *hint*, or unchanged if that fails."""
    if not isinstance(value, str):
        return value
    kinds = get_args(hint) or (hint,)
    word = value.strip().lower()
    if get_origin(hint) is tuple:  # secrets, one on a line; a passphrase has spaces
        return [line.strip() for line in value.splitlines() if line.strip()]
    if bool in kinds and word in _WORDS:
        return _WORDS[word]
    # An option that takes text can have the value "none".
    if type(None) in kinds and word in ({""} if str in kinds else {"", "none"}):
        return None
    is_number = int in kinds or float in kinds
    return _number(word, value) if is_number and str not in kinds else value


def _number(word: str, value: str) -> int | float | str:
    try:
        return int(word)
    except ValueError:
        with suppress(ValueError):
            return float(word)
    return value


def signature(cls: type[Options], *leading: str) -> inspect.Signature:
    """Return the signature of a callable that takes *leading* and then the options of *cls*."""
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, positional) for name in leading]
    for item in dataclasses.fields(cls):
        default = inspect.Parameter.empty if item.default is dataclasses.MISSING else item.default
        parameters.append(
            inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=default)
        )
    return inspect.Signature(parameters)


def rows(cls: type[Options]) -> Iterator[tuple[str, str, str]]:
    """Yield the name, the default as Python source, and the description of each option."""
    for item in dataclasses.fields(cls):
        shown = item.metadata["shown"] or _source(item.default)
        is_required = item.default is dataclasses.MISSING
        yield item.name, "required" if is_required else shown, item.metadata["doc"]


def boolean(name: str, value: object) -> bool:
    """Check an option that is either True or False."""
    if not isinstance(value, bool):
        raise ConfigTypeError(f"{name} {value!r} is not True or False")
    return value


def seconds(name: str, value: object) -> float:
    """Check a duration above zero: seconds as int or float, or a timedelta."""
    duration = seconds_or_zero(name, value)
    if not duration:
        raise ConfigError(f"{name} 0 s is not a duration above zero")
    return duration


def seconds_or_zero(name: str, value: object) -> float:
    """Check a duration of zero or more: seconds as int or float, or a timedelta."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigTypeError(
            f"{name} is of type {type(value).__name__}, not seconds (int or float) or a timedelta"
        )
    try:
        duration = float(value)
    except OverflowError:
        raise ConfigError(f"{name} is a number of seconds too large to count") from None
    if not isfinite(duration) or duration < 0:
        raise ConfigError(f"{name} {value} s is not a duration")
    return duration


def optional(check: Check) -> Check:
    """Return a check that lets None pass and leaves the rest to *check*."""
    return lambda name, value: None if value is None else check(name, value)


def size(smallest: int, largest: int) -> Check:
    """Return a check for a number of bytes within two limits."""

    def check(name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigTypeError(f"{name} is of type {type(value).__name__}, not bytes (int)")
        if not smallest <= value <= largest:
            raise ConfigError(f"{name} {value} bytes is not within {smallest} to {largest}")
        return value

    return check


def count(name: str, value: object) -> int:
    """Check a number of things: at least one."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigTypeError(f"{name} is of type {type(value).__name__}, not int")
    if value < 1:
        raise ConfigError(f"{name} {value} is not at least 1")
    return value


def choice(*allowed: object) -> Check:
    """Return a check for one of a few values."""

    def check(name: str, value: object) -> object:
        # Not `in`: True equals 1, and a value can be of a type that can't be compared.
        if not any(type(value) is type(item) and value == item for item in allowed):
            known = ", ".join(repr(item) for item in allowed)
            raise ConfigError(f"{name} {value!r} is not one of {known}")
        return value

    return check


def text(name: str, value: object) -> str:
    """Check an option that is a str and not empty."""
    if not isinstance(value, str):
        raise ConfigTypeError(f"{name} is of type {type(value).__name__}, not str")
    if not value:
        raise ConfigError(f"{name} is empty")
    return value


def function(name: str, value: object) -> Callable[..., Any]:
    """Check an option that is a function."""
    if not callable(value):
        raise ConfigTypeError(f"{name} is of type {type(value).__name__}, which can't be called")
    return value


def _source(value: object) -> str:
    name = getattr(value, "__qualname__", None)
    return f"{getattr(value, '__module__', '')}.{name}".lstrip(".") if name else repr(value)
