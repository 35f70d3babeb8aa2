"""Plain values out of a pickle, by a reader that can run nothing.

A pickle is a program for a stack machine.  It is dangerous because it names functions, which are
then called.  Here a name is text that is looked up in a small table of the types that a session
may hold.  Nothing is imported, and a name that the table lacks is refused.  The reader knows only
the instructions that such values need.

A small pickle can also take hours to read: a pickle can mention a value again in two bytes, and
each mention can be hashed, compared or converted.  The machine therefore hashes nothing, and
makes sets and dicts as lists.  The copy at the end has a budget.

Source: PEP 307, PEP 3154, and CPython's Lib/pickletools.py for the instructions.
"""

from __future__ import annotations

import struct
import sys
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from litesess import codec

#: Values, and characters of text among them: more than the largest session has.
_MOST: Final = 1 << 21
#: Instructions: a value of the largest session has two bytes at least, and one or two of these.
_MOST_STEPS: Final = 1 << 20
#: The bytes of a number of 4 300 digits; Python reads no longer one from text.
_LONGEST_NUMBER: Final = 1786
#: The largest number of members of a set, or keys of a dict, with one hash.  -1 and -2 share a
#: hash; three values share one only if they were chosen for that.
_MOST_ALIKE: Final = 8
_SHOWN: Final = 80
#: The exceptions of instructions that no pickler has written.
_DAMAGE: Final = (
    ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError, struct.error
)  # fmt: skip


class NotPlain(Exception):  # it is the file's fault
    """A pickle is damaged, or holds more than plain values; the message shows no value."""


class _Named:
    """A name in a pickle; text and nothing more."""

    def __init__(self, module: str, name: str) -> None:
        self.pair = (module, name)

    def __str__(self) -> str:
        return ".".join(self.pair)[:_SHOWN]


class _Uuid:
    """A UUID, which a pickle makes first and gives its number later."""

    number: int


class _Members:
    """A future set or dict: its members, or pairs of key and value, in a list."""

    __slots__ = ("items", "kind")

    def __init__(self, kind: type, items: list[Any]) -> None:
        self.kind = kind
        self.items = items


def _members(kind: type) -> Callable[[list[Any]], _Members]:
    def make(items: list[Any]) -> _Members:
        if type(items) is not list:
            raise TypeError("no members")
        return _Members(kind, items)

    return make


def _encoded(text: str, encoding: str) -> bytes:
    """Return the bytes that a text stands for, before protocol 3."""
    if encoding != "latin1":
        raise ValueError("no bytes")
    return text.encode("latin-1")


def _decimal(text: str) -> Decimal:
    if type(text) is not str:  # converting a long int takes quadratic time
        raise TypeError("no text")
    return Decimal(text)


_MAKERS: Final[dict[tuple[str, str], Callable[..., Any]]] = {
    ("_codecs", "encode"): _encoded,
    ("__builtin__", "bytes"): lambda: b"",
    # Protocol 2 calls the module as Python 2 did, protocol 3 as it is called now.
    ("__builtin__", "set"): _members(set),
    ("__builtin__", "frozenset"): _members(frozenset),
    ("builtins", "set"): _members(set),
    ("builtins", "frozenset"): _members(frozenset),
    ("datetime", "datetime"): datetime,
    ("datetime", "date"): date,
    ("datetime", "timedelta"): timedelta,  # in a timezone
    ("datetime", "timezone"): timezone,
    ("decimal", "Decimal"): _decimal,
}
_PLAIN: Final = frozenset(
    {str, int, float, bool, type(None), bytes, bytearray, datetime, date, Decimal}
)


def read(pickled: bytes) -> Any:
    """Return the value in a pickle of protocol 2 to 5, if it is a plain one.

    Plain is a value made of None, bool, int, float, str, bytes, datetime, date, Decimal, UUID,
    list, tuple, set, frozenset and dict.

    Raises:
        NotPlain: it holds another value, or is damaged.
    """
    machine = _Machine(pickled)
    try:
        return _Copy().of(machine.run(), 0)
    except _DAMAGE:
        raise NotPlain(f"is damaged before byte {machine.at}") from None


class _Machine:
    """A stack machine with the instructions of a pickle that make plain values."""

    def __init__(self, pickled: bytes) -> None:
        self._pickled = pickled
        self.at = 0
        self.stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._left = _MOST

    def run(self) -> Any:
        """Return the value on the stack at the end of the pickle."""
        if self.take(1) != b"\x80" or not 2 <= self.take(1)[0] <= 5:
            raise NotPlain("is no pickle of protocol 2 to 5")
        for _ in range(_MOST_STEPS):
            code = self.take(1)
            if code == b".":
                return self.stack.pop()
            instruction = _INSTRUCTIONS.get(code)
            if instruction is None:
                raise NotPlain(f"has the instruction {code[0]:#04x}, which plain values don't need")
            instruction(self)
        raise NotPlain("is larger than any session")

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        taken = self._pickled[self.at : self.at + size]
        if len(taken) != size:
            raise ValueError("cut short")
        self.at += size
        return taken

    def number(self, form: str) -> Any:
        """Return the next number."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        """Return the text before the next newline."""
        end = self._pickled.index(b"\n", self.at)
        text = self.take(end - self.at).decode()
        self.at += 1
        return text

    def mark(self) -> None:
        """Begin another stack."""
        self._below.append(self.stack)
        self.stack = []

    def marked(self) -> list[Any]:
        """Return the items of this stack, and go back to the one before."""
        items, self.stack = self.stack, self._below.pop()
        return items

    def push(self, value: object) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def remember(self, number: int | None) -> None:
        """Keep the value on the top under a number; None: under the next number."""
        self._memo[len(self._memo) if number is None else number] = self.stack[-1]

    def recall(self, number: int) -> None:
        """Put the value that was kept under a number on the stack."""
        self.push(self._memo[number])

    def append(self, items: list[Any]) -> None:
        """Add to the list on the top."""
        list.extend(self.stack[-1], items)

    def add(self, items: list[Any]) -> None:
        """Add to the set on the top."""
        self._members(set).extend(items)

    def set_items(self, items: list[Any]) -> None:
        """Add keys and values in turn to the dict on the top."""
        self._members(dict).extend(zip(items[::2], items[1::2], strict=True))

    def _members(self, kind: type) -> list[Any]:
        top = self.stack[-1]
        if type(top) is not _Members or top.kind is not kind:
            raise TypeError(f"no {kind.__name__}")
        return top.items

    def top(self, count: int) -> list[Any]:
        """Take *count* values off the stack and return them in order."""
        items = [self.stack.pop() for _ in range(count)]
        return items[::-1]

    def name(self, module: object, name: object) -> None:
        """Put a name on the stack."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError("no name")
        self.push(_Named(module, name))

    def make(self) -> None:
        """Make a value of the named type, if the table has it."""
        named, arguments = self.top(2)
        maker = _MAKERS.get(named.pair)
        if maker is None:
            raise NotPlain(f"holds {named}")
        self._left -= 1 + sum(map(_size, arguments))
        if self._left < 0:
            raise NotPlain("is larger than any session")
        self.push(maker(*arguments))

    def make_bare(self) -> None:
        """Make a UUID, which gets its number later, and no other object."""
        named, arguments = self.top(2)
        if named.pair != ("uuid", "UUID") or arguments != ():
            raise NotPlain(f"holds {named}")
        self.push(_Uuid())

    def build(self) -> None:
        """Give the UUID on the top its number."""
        state = self.stack.pop()
        uuid = self.stack[-1]
        if type(uuid) is not _Uuid or type(state) is not _Members or state.kind is not dict:
            raise NotPlain("holds an object with a state")
        ((name, uuid.number),) = state.items[:1]
        if name != "int":
            raise ValueError("no number")


def _constant(value: object) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(value)


def _unpacked(form: str) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(machine.number(form))


def _sized(form: str, made: Callable[[bytes], object]) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(made(machine.take(machine.number(form))))


def _tuple(count: int) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(tuple(machine.top(count)))


def _text(given: bytes) -> str:
    return given.decode("utf-8", "surrogatepass")


def _long(given: bytes) -> int:
    if len(given) > _LONGEST_NUMBER:
        raise NotPlain(f"holds a number of {len(given)} bytes, limit {_LONGEST_NUMBER}")
    return int.from_bytes(given, "little", signed=True)


_INSTRUCTIONS: Final[dict[bytes, Callable[[_Machine], object]]] = {
    b"\x95": lambda machine: machine.take(8),  # the length of a frame; all is here anyway
    b"(": _Machine.mark,
    b"0": lambda machine: machine.stack.pop(),
    b"1": _Machine.marked,
    b"q": lambda machine: machine.remember(machine.number("<B")),
    b"r": lambda machine: machine.remember(machine.number("<I")),
    b"\x94": lambda machine: machine.remember(None),
    b"h": lambda machine: machine.recall(machine.number("<B")),
    b"j": lambda machine: machine.recall(machine.number("<I")),
    b"N": _constant(None),
    b"\x88": _constant(True),
    b"\x89": _constant(False),
    b"J": _unpacked("<i"),
    b"K": _unpacked("<B"),
    b"M": _unpacked("<H"),
    b"G": _unpacked(">d"),
    b"\x8a": _sized("<B", _long),
    b"\x8b": _sized("<I", _long),
    b"\x8c": _sized("<B", _text),
    b"X": _sized("<I", _text),
    b"\x8d": _sized("<Q", _text),
    b"C": _sized("<B", bytes),
    b"B": _sized("<I", bytes),
    b"\x8e": _sized("<Q", bytes),
    b"\x96": _sized("<Q", bytearray),
    b"]": lambda machine: machine.push([]),
    b"a": lambda machine: machine.append(machine.top(1)),
    b"e": lambda machine: machine.append(machine.marked()),
    b"}": lambda machine: machine.push(_Members(dict, [])),
    b"s": lambda machine: machine.set_items(machine.top(2)),
    b"u": lambda machine: machine.set_items(machine.marked()),
    b")": _constant(()),
    b"\x85": _tuple(1),
    b"\x86": _tuple(2),
    b"\x87": _tuple(3),
    b"t": lambda machine: machine.push(tuple(machine.marked())),
    b"\x8f": lambda machine: machine.push(_Members(set, [])),
    b"\x90": lambda machine: machine.add(machine.marked()),
    b"\x91": lambda machine: machine.push(_Members(frozenset, machine.marked())),
    b"c": lambda machine: machine.name(machine.line(), machine.line()),
    b"\x93": lambda machine: machine.name(*machine.top(2)),
    b"R": _Machine.make,
    b"\x81": _Machine.make_bare,
    b"b": _Machine.build,
}


class _Copy:
    """A copier of a value that can contain the same part many times, even in itself.

    A pickle of a hundred bytes can stand for more values than there are atoms, so the copying stops
    at a limit.
    """

    def __init__(self) -> None:
        self._left = _MOST

    def of(self, value: Any, depth: int) -> Any:
        """Return a copy of *value*, which lies *depth* levels deep."""
        kind = type(value)
        self._left -= 1 + _size(value)
        if self._left < 0:
            raise NotPlain("is larger than any session")
        if kind in _PLAIN:
            return value
        if depth > codec.MAX_DEPTH:
            raise NotPlain(f"is nested deeper than {codec.MAX_DEPTH} levels")
        if kind is _Members:
            return self._filled(value, depth + 1)
        if kind in (list, tuple):
            return kind([self.of(item, depth + 1) for item in value])
        if kind is _Uuid:
            return UUID(int=value.number)
        raise NotPlain(f"holds {value if kind is _Named else kind.__name__}")

    def _filled(self, members: _Members, depth: int) -> Any:
        """Return the set or dict with *members*."""
        if members.kind is not dict:
            return members.kind(self._hashable(members.items, depth))
        keys = self._hashable([key for key, _ in members.items], depth)
        return dict(zip(keys, [self.of(item, depth) for _, item in members.items], strict=True))

    def _hashable(self, members: list[Any], depth: int) -> list[Any]:
        """Return copies of the future members of a set, or keys of a dict.

        Raises:
            NotPlain: a member is nested too deeply: a tuple of tuples of one tuple, and so on,
                takes hours to hash, or all of the stack.  Or many members have one hash, so
                that Python would compare each one with all the rest.
        """
        copies, alike = [], Counter[int]()
        for member in members:
            parts = member if type(member) is tuple else (member,)
            self._left -= len(parts)
            if self._left < 0:
                raise NotPlain("is larger than any session")
            if any(type(part) in (tuple, _Members) for part in parts):
                raise NotPlain("has a key that is nested deeper than a tuple")
            copy = self.of(member, depth)
            if type(copy) not in (str, bytes):  # no client can foresee their hashes
                number = hash(copy)
                alike[number] += 1
                if alike[number] > _MOST_ALIKE:
                    raise NotPlain("has keys that were made to have one hash")
            copies.append(copy)
        return copies


def _size(value: Any) -> int:
    """Return an estimate of the work that a plain value takes, beyond a small value."""
    if type(value) in (str, bytes, bytearray):
        return len(value)
    return sys.getsizeof(value) >> 5 if type(value) in (int, Decimal) else 0
