"""Progress bars on stderr, if that is a terminal and rich is installed; else nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from litesess.cli.output import has_colour, is_terminal
from litesess.engine import new_snapshot_bytes

if TYPE_CHECKING:
    from rich.progress import Progress

    from litesess.stores.wal import WALStore

#: How often a bar is drawn, a second; each time the interpreter is taken from the work for 1 ms.
_REFRESHES: Final = 5


def is_shown() -> bool:
    """Return whether bars are shown, so that it is worth counting the work."""
    if not is_terminal(sys.stderr):
        return False
    return find_spec("rich") is not None


def load() -> None:
    """Import the modules that bars need, if a bar will be shown."""
    if is_shown():
        import_module("rich.progress")


@contextmanager
def bar(
    label: str,
    total: Callable[[], int | None] = lambda: None,
    *,
    done: Callable[[], int] | None = None,
    in_bytes: bool = False,
) -> Iterator[Callable[[int], None]]:
    """Show the progress of the work in the block.

    Args:
        label: the name of the work.
        total: returns the amount of work, and is called only if a bar is shown; None: unknown.
        done: returns the amount done so far, each time the bar is drawn.
        in_bytes: both amounts are bytes.

    Yields:
        A function to call with each amount that is done, unless *done* tells it.
    """
    if not is_shown():
        yield lambda _amount: None
        return
    progress = _progress(done, in_bytes=in_bytes)
    task = progress.add_task(label, total=total())
    with progress:
        yield lambda amount: progress.advance(task, amount)


def _progress(done: Callable[[], int] | None, *, in_bytes: bool) -> Progress:
    from rich import console, progress  # noqa: PLC0415  # optional, and slower to import than most commands, which draw no bar

    class Looking(progress.Progress):
        """A bar that looks up its progress."""

        def get_renderables(self) -> Iterator[console.RenderableType]:
            if done is not None:
                for task in self.tasks:
                    task.completed = done()
            yield from super().get_renderables()

    amount = progress.DownloadColumn() if in_bytes else progress.MofNCompleteColumn()
    return Looking(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        amount,
        progress.TimeElapsedColumn(),
        console=console.Console(file=sys.stderr, no_color=not has_colour(sys.stderr)),
        refresh_per_second=_REFRESHES,
        transient=True,
    )


def bytes_in(directory: str, beginning: str) -> int:
    """Return the bytes of all files in *directory* with names that start with *beginning*."""
    total = 0
    with suppress(OSError):
        for path in Path(directory).iterdir():
            if path.name.startswith(beginning):
                with suppress(OSError):  # another process has just deleted it
                    total += path.stat().st_size
    return total


@contextmanager
def rewriting(label: str, store: WALStore) -> Iterator[None]:
    """Show how much of a new snapshot is written; it gets about as large as the store."""
    with bar(
        label,
        lambda: size_of(store),
        done=lambda: new_snapshot_bytes(store.path, store.collection),
        in_bytes=True,
    ):
        yield


def size_of(store: WALStore) -> int:
    """Return the size of the sessions on the disk in bytes, without reserved space."""
    stats = store.stats()
    return stats.log_bytes + stats.snapshot_bytes
