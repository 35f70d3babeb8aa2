"""A store in numbers."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Stats:
    """A store in numbers.

    Attributes:
        live: sessions that have not expired.
        expired: sessions that have expired, and were not removed yet.
        log_bytes: length of the log.
        snapshot_bytes: length of the snapshot.
        generation: the number of the current log.
        is_poisoned: a sync has failed, so nothing is written any more.
        commits: writes by this process since it has had the store open.
        fsyncs: syncs of the log by this process.
        merges: writes by this process that were merged with another's.
        discarded: writes by this process that came too late: the session was gone.
        refused: sessions that this process did not store, as ``max_sessions`` was reached.
        compactions: by this process.
        compacted_at: when this process last did, in Unix seconds; None: it did not.
        compaction_seconds: how long that took.
    """

    live: int
    expired: int
    log_bytes: int
    snapshot_bytes: int
    generation: int
    is_poisoned: bool
    commits: int
    fsyncs: int
    merges: int
    discarded: int
    refused: int
    compactions: int
    compacted_at: float | None
    compaction_seconds: float | None


class Tally:
    """Counts of this process' writes that met those of other requests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # Guards: the numbers.
        self.merges = 0
        self.discarded = 0
        self.refused = 0

    def add_merge(self) -> None:
        """Count a write that was merged with another request's."""
        with self._lock:
            self.merges += 1

    def add_discarded(self) -> None:
        """Count a write that came too late."""
        with self._lock:
            self.discarded += 1

    def add_refused(self) -> None:
        """Count a session that was not stored, as there are too many."""
        with self._lock:
            self.refused += 1
