"""Plain values out of a pickle, by a reader that can run nothing.

A pickle is a program for a stack machine.  It is dangerous because it names functions, which are
then called.  Here a name is text that is looked up in a small table of the types that a session
may hold.  Nothing is imported, and a name that the table lacks is refused.  The reader knows only
the instructions that such values need.

A small pickle can also take hours to read: a pickle can mention a value again in two bytes, and
each mention can be hashed, compared or converted.  The machine therefore hashes nothing, and
makes sets and dicts as lists.  The copy at the end (:mod:`litesess.moving.plain`) has a budget.

Source: PEP 307, PEP 3154, and CPython's Lib/pickletools.py for the instructions.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final

from litesess.moving.plain import MOST, Copy, Markup, Members, Named, NotPlain, Uuid, size_of

#: Instructions: a value of the largest session has two bytes at least, and one or two of these.
_MOST_STEPS: Final = 1 << 20
#: The bytes of a number of 4 300 digits; Python reads no longer one from text.
_LONGEST_NUMBER: Final = 1786
#: The exceptions of instructions that no pickler has written.
_DAMAGE: Final = (
    ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError, struct.error
)  # fmt: skip


def _members(kind: type) -> Callable[[list[Any]], Members]:
    def make(items: list[Any]) -> Members:
        if type(items) is not list:
            raise TypeError("no members")
        return Members(kind, items)

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


def _markup(text: str) -> Markup:
    if type(text) is not str:  # converting a value of another type can take long
        raise TypeError("no text")
    return Markup(text)


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


def read(pickled: bytes) -> Any:
    """Return the value in a pickle of protocol 2 to 5, if it is a plain one.

    Plain is a value made of None, bool, int, float, str, MarkupSafe's Markup, bytes, datetime,
    date, Decimal, UUID, list, tuple, set, frozenset and dict.

    Raises:
        NotPlain: it holds another value, or is damaged.
    """
    machine = _Machine(pickled)
    try:
        return Copy().of(machine.run(), 0)
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
        self._left = MOST

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
        if type(top) is not Members or top.kind is not kind:
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
        self.push(Named(module, name))

    def make(self) -> None:
        """Make a value of the named type, if the table has it."""
        named, arguments = self.top(2)
        maker = _MAKERS.get(named.pair)
        if maker is None:
            raise NotPlain(f"holds {named}")
        self._spend(sum(map(size_of, arguments)))
        self.push(maker(*arguments))

    def _spend(self, size: int) -> None:
        """Count the work of a value that is made anew at each mention."""
        self._left -= 1 + size
        if self._left < 0:
            raise NotPlain("is larger than any session")

    def make_bare(self) -> None:
        """Make a UUID, which gets its number later, or text that is HTML, and no other object."""
        named, arguments = self.top(2)
        if named.pair == ("uuid", "UUID") and arguments == ():
            self.push(Uuid())
        elif named.pair == ("markupsafe", "Markup"):
            (text,) = arguments
            self._spend(size_of(text))
            self.push(_markup(text))
        else:
            raise NotPlain(f"holds {named}")

    def build(self) -> None:
        """Give the UUID on the top its number."""
        state = self.stack.pop()
        uuid = self.stack[-1]
        if type(uuid) is not Uuid or type(state) is not Members or state.kind is not dict:
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
    b"}": lambda machine: machine.push(Members(dict, [])),
    b"s": lambda machine: machine.set_items(machine.top(2)),
    b"u": lambda machine: machine.set_items(machine.marked()),
    b")": _constant(()),
    b"\x85": _tuple(1),
    b"\x86": _tuple(2),
    b"\x87": _tuple(3),
    b"t": lambda machine: machine.push(tuple(machine.marked())),
    b"\x8f": lambda machine: machine.push(Members(set, [])),
    b"\x90": lambda machine: machine.add(machine.marked()),
    b"\x91": lambda machine: machine.push(Members(frozenset, machine.marked())),
    b"c": lambda machine: machine.name(machine.line(), machine.line()),
    b"\x93": lambda machine: machine.name(*machine.top(2)),
    b"R": _Machine.make,
    b"\x81": _Machine.make_bare,
    b"b": _Machine.build,
}
