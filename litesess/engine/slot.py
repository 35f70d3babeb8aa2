"""The slot of an open store: kept current while processes have it, written at last by the last."""

from __future__ import annotations

import logging

from litesess.engine import format as form
from litesess.engine.files import Files
from litesess.engine.fs import is_interruption
from litesess.engine.presence import Presence

logger = logging.getLogger("litesess.engine")


class SlotWriter:
    """Writes the slot, at the start of the presence file."""

    def __init__(self, files: Files, presence: Presence | None) -> None:
        """Begin with nothing written.

        Args:
            files: those of the store.
            presence: the presence file; None: the store is open only for reading.
        """
        self._files = files
        self._presence = presence
        self._written: form.Slot | None = None

    def keep(self, slot: form.Slot | None) -> None:
        """Let the slot say *slot*, unless it does; only under the maintenance lock.

        If that fails, the one before still holds: it says less.
        """
        if self._presence is None or slot is None or slot == self._written:
            return
        try:
            self.write(slot)
        except OSError as error:
            if is_interruption(error):
                raise
            path = self._files.directory.path
            logger.warning("%s: how much is synced could not be noted: %s", path, error)

    def write(self, slot: form.Slot) -> None:
        """Write the slot, durably; the writes that it vouches for must be durable before.

        Raises:
            OSError: the disk failed.
        """
        if self._presence is not None:
            self._files.write_slot(self._presence.fd, slot)
            self._written = slot
