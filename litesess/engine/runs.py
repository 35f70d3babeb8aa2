"""Runs of touches: many records of a log decoded by few calls.

A site that mostly reads writes little else than touches, hundreds of thousands between two
compactions, each a record of its own.  They have one length, so that as many as stand one after the
other are checked by columns, for a fraction of the time that each would take.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import repeat
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

from litesess.engine import format as form

_HEAD: Final = Struct("<HBBI").pack(form.RECORD_MAGIC, form.TOUCH, 0, form.TOUCH_BYTES)
_BYTES: Final = form.RECORD_BYTES + form.TOUCH_BYTES
#: Of 32 bits: a record, and what of it stands where.
_WORDS: Final = _BYTES // 4
_SEQUENCE, _DURABLE, _CRC, _KEY = 2, 4, 6, 7
#: What a checksum is over, without itself.
_CHECKED: Final = Struct(f"<{form.CRC_OFFSET}s4x{form.TOUCH_BYTES}s")
# the first 8 bytes of the key, the others, version u64, expires_at f64
_ROW: Final = Struct(f"<{form.RECORD_BYTES}x8s24sQd")

#: A run is worth its calls from so many records on, and longer ones leave the cache of the CPU.
_SHORTEST: Final = 16
_LONGEST: Final = 512
_LAST_START: Final = _BYTES * (_SHORTEST - 1)


class Run(NamedTuple):
    """Records of the type TOUCH that stand one after the other; their checksums hold."""

    offset: int
    end: int
    sequence: int  # of the first
    last: int  # of the last
    durable: int  # the highest in them
    words: array[int]

    @property
    def kind(self) -> int:
        """The type of each of them."""
        return form.TOUCH

    def rows(self) -> Iterator[tuple[bytes, bytes, int, float]]:
        """Yield of each the key, in two parts, the first of 8 bytes, the version, the expiry."""
        return _ROW.iter_unpack(self.words)

    def starts(self) -> array[int]:
        """Return the first four bytes of each key, as numbers of which the first byte is most."""
        starts = self.words[_KEY::_WORDS]
        starts.byteswap()
        return starts

    def copied(self, salt_crc: int) -> bytes:
        """Return the records for another log, in which nothing is known to be synced."""
        words, zeros = self.words[:], array("I", bytes(4 * (self.last - self.sequence + 1)))
        words[_DURABLE::_WORDS] = zeros
        words[_DURABLE + 1 :: _WORDS] = zeros
        words[_CRC::_WORDS] = _checksums(words, salt_crc)
        return words.tobytes()


def decode_run(data: bytes, at: int, base: int, salt_crc: int) -> Run | None:
    """Return a run that begins at *at* in *data*, which begins at *base* in the file.

    None if there is none, or it is not worth it: then :func:`format.decode_record` says what there
    is.  The next run may go on where it ends.  Only for a log that is not encrypted.
    """
    if not (data.startswith(_HEAD, at) and data.startswith(_HEAD, at + _LAST_START)):
        return None
    count = min((len(data) - at) // _BYTES, _LONGEST)
    words = array("I", data[at : at + _BYTES * count])
    for column, value in enumerate(array("I", _HEAD)):
        count = _agreeing(words[column::_WORDS][:count], array("I", [value]) * count)
    low, high = words[_SEQUENCE : _SEQUENCE + 2]
    if count < _SHORTEST or low + count > 1 << 32:
        return None
    count = _agreeing(words[_SEQUENCE::_WORDS][:count], array("I", range(low, low + count)))
    count = _agreeing(words[_SEQUENCE + 1 :: _WORDS][:count], array("I", [high]) * count)
    del words[_WORDS * count :]
    count = _agreeing(words[_CRC::_WORDS], _checksums(words, salt_crc))
    if count < _SHORTEST:
        return None
    del words[_WORDS * count :]
    durable = max(
        high << 32 | low
        for high, low in zip(words[_DURABLE + 1 :: _WORDS], words[_DURABLE::_WORDS], strict=True)
    )
    start, sequence = base + at, high << 32 | low
    return Run(start, start + _BYTES * count, sequence, sequence + count - 1, durable, words)


def _checksums(words: array[int], salt_crc: int) -> array[int]:
    heads, payloads = zip(*_CHECKED.iter_unpack(words), strict=True)
    return array("I", map(crc32, payloads, map(crc32, heads, repeat(salt_crc))))


def _agreeing(found: array[int], wanted: array[int]) -> int:
    """Return how many numbers of *found* are as those of *wanted*, from the first on."""
    if found == wanted:
        return len(found)
    pairs = enumerate(zip(found, wanted, strict=True))
    return next(at for at, (one, other) in pairs if one != other)
