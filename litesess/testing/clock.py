"""A clock that stands still."""

from __future__ import annotations


class FakeClock:
    """A clock that tells the time it was given, in Unix seconds."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Advance the clock by *seconds*; a negative number sets it back."""
        self.now += seconds
