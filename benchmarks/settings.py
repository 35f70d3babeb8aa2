"""The settings of a run of the benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of one run.

    Attributes:
        directory: an empty one, on the disk to measure.
        rounds: how often each candidate is measured in each case.
        seconds: how long one measurement takes.
        sessions: in the large stores.
        seed: of the random numbers.
    """

    directory: Path
    rounds: int = 5
    seconds: float = 1.0
    sessions: int = 1_000_000
    seed: int = 1
