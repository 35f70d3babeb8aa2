"""Presence: the note in ``.live`` about the processes that have a store open.

All processes that have it open share the lock of that file.  But some ways to a directory have
locks of their own: a FUSE view of it, or the upper layer of an overlay beside the overlay.  Two
processes that came by two such ways would both believe to be the first, and write over each other.
They see the same bytes, though, and different devices.  So the first process notes its device after
the slot.  A process that finds another device there asks whether the store is in use: it writes a
number, and a process that has the store open looks about once a second, and repeats it.  Without an
answer, the note was left by a crash.  The idle disk is not written to.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from struct import Struct
from typing import Final, NamedTuple

from litesess.engine import format as form
from litesess.engine.descriptors import OpenFile
from litesess.engine.directory import Directory
from litesess.engine.fs import write_all
from litesess.engine.means import Means
from litesess.errors import StoreError, StoreFailed, StoreLocked

_NOTE: Final = Struct("<8sQQQQ")
_NOTE_MAGIC: Final = b"LSESSDEV"
_U64: Final = Struct("<Q")
_ASKED_AT: Final = form.SLOT_BYTES + 24
_ANSWERED_AT: Final = _ASKED_AT + _U64.size

#: A process that has the store open looks at the note about once a second.  A question without an
#: answer for so long, in seconds, will get none, even on a busy machine.
_ANSWERED_WITHIN: Final = 5.0
_ASK_EVERY: Final = 0.1
#: Microseconds pass between reading the note and writing it.  A process that has waited for this
#: many seconds, and then finds its own note, is the only one that has seen the store free.
_RACE: Final = 0.005
#: The same where a daemon serves the files, which can show a write late.
_UNLISTED_RACE: Final = 2.5
#: A call that a killed process has made may still be under way, where a daemon serves it.
_LAST_CALL: Final = 0.2


class Note(NamedTuple):
    """The process that has the store open, its device, and the last question and answer.

    Attributes:
        device: of the directory, as the first process to open the store sees it.
        pid: of that process; 0: the store was closed.
        asked: a number that another process has written.
        answered: the number as it was repeated.
    """

    device: int
    pid: int
    asked: int = 0
    answered: int = 0


class Presence:
    """The presence file of an open store."""

    def __init__(self, directory: Directory, file: OpenFile, means: Means) -> None:
        """Take over the open file.

        Args:
            directory: of the store.
            file: its presence file.
            means: random numbers, the process id.
        """
        self._directory = directory
        self._file = file
        self._means = means
        self._device = directory.fs.device_of(directory.fd)

    @property
    def fd(self) -> int:
        """The open file, for its lock."""
        return self._file.fd

    def close(self) -> None:
        """Close the file; again is harmless."""
        self._file.close()

    def claim(self, sleep: Callable[[float], object], *, is_unlisted: bool) -> None:
        """Note that this process has the store open; only with the presence lock alone.

        Args:
            sleep: how to wait; may raise, to end that.
            is_unlisted: the file system is not known to be a local one.

        Raises:
            StoreLocked: a process has it open that came by another device.
        """
        note = self._read()
        if note is not None and note.device != self._device and self._is_alive(note, sleep):
            raise StoreLocked(self._directory.path, self._reason(note))
        self._write(Note(self._device, self._means.lock.pid()))
        if note is None or note.device != self._device:
            # Guards: two that came by two ways at once; the later note stands, and the other
            # process sees it here, or within a second.
            sleep(_UNLISTED_RACE if is_unlisted else _RACE)
            self.look()
        elif note.pid and is_unlisted:
            sleep(_LAST_CALL)

    def look(self) -> None:
        """Answer a question of another process; called at most once a second.

        Raises:
            StoreFailed: the directory was moved or replaced, or the store opened by another device.
            OSError: the disk failed.
        """
        self._directory.check_in_place()
        note = self._read()
        if note is None:  # it is written by the next that is the first
            return
        if note.device != self._device:
            raise StoreFailed(
                f"{self._directory.path} {self._reason(note)}, and restart this process"
            )
        if note.asked != note.answered:
            self._write_at(_U64.pack(note.asked), _ANSWERED_AT)

    def leave(self) -> None:
        """Note that the store was closed; only with the presence lock alone."""
        self._write(Note(self._device, 0))

    def holder(self) -> int:
        """Return the process that noted itself, for an error message; 0 if none did."""
        note = self._read()
        return note.pid if note is not None else 0

    def _is_alive(self, note: Note, sleep: Callable[[float], object]) -> bool:
        """Return whether a process that came by the device of *note* answers."""
        if not note.pid:
            return False
        question = int.from_bytes(self._means.random_bytes(_U64.size), "little") | 1
        self._write_at(_U64.pack(question), _ASKED_AT)
        for _ in range(round(_ANSWERED_WITHIN / _ASK_EVERY)):
            sleep(_ASK_EVERY)
            now = self._read()
            # Any answer: two that ask at once write one question over the other.
            if now is not None and (now.answered != note.answered or now[:2] != note[:2]):
                return True
        return False

    def _reason(self, note: Note) -> str:
        name = self._directory.fs.device_name
        return (
            f"is in use by process {note.pid or '(none)'} by way of device {name(note.device)}, and"
            f" this process came by way of device {name(self._device)}: locks do not pass from one"
            " to the other; use the same path, without a FUSE view or an overlay, in all processes"
        )

    def _read(self) -> Note | None:
        # Open it anew: a FUSE view shows an open file as it was when it was opened.
        with suppress(OSError, StoreError):
            data = self._directory.read(
                self._directory.names.presence, form.SLOT_BYTES + _NOTE.size
            )
            if data is not None and len(data) == form.SLOT_BYTES + _NOTE.size:
                magic, *fields = _NOTE.unpack_from(data, form.SLOT_BYTES)
                if magic == _NOTE_MAGIC:
                    return Note(*fields)
        return None

    def _write(self, note: Note) -> None:
        self._write_at(_NOTE.pack(_NOTE_MAGIC, *note), form.SLOT_BYTES)

    def _write_at(self, data: bytes, offset: int) -> None:
        # On a full disk the store is open all the same, if only this way.
        with suppress(OSError):
            write_all(self._directory.fs, self._file.fd, data, offset)
