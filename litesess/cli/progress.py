"""Progress bars on stderr, where that is a terminal and rich is installed; else nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from litesess.cli.output import has_colour, is_terminal

if TYPE_CHECKING:
    from rich.progress import Progress

#: How often a bar is drawn, a second; each time the interpreter is taken from the work for 1 ms.
_REFRESHES: Final = 5


def is_shown() -> bool:
    """Say whether bars are shown, so that it is worth finding out how much there is to do."""
    if not is_terminal(sys.stderr):
        return False
    return find_spec("rich") is not None


def load() -> None:
    """Import what bars need, if any will be shown."""
    if is_shown():
        import rich.progress  # noqa: F401, PLC0415  # optional (litesess[cli])


@contextmanager
def bar(
    label: str,
    total: Callable[[], int | None] = lambda: None,
    *,
    done: Callable[[], int] | None = None,
    in_bytes: bool = False,
) -> Iterator[Callable[[int], None]]:
    """Show how far the work in the block is.

    Args:
        label: what is done.
        total: how much there is to do, asked only if it is shown; None: it can't be told.
        done: how much of it is done, if that can be looked up whenever the bar is drawn.
        in_bytes: what both count.

    Yields:
        What to call with each amount that was done; nothing need be.
    """
    if not is_shown():
        yield lambda _amount: None
        return
    progress = _progress(done, in_bytes=in_bytes)
    task = progress.add_task(label, total=total())
    with progress:
        yield lambda amount: progress.advance(task, amount)


def _progress(done: Callable[[], int] | None, *, in_bytes: bool) -> Progress:
    # Also, to import it takes longer than most commands, which draw no bar.
    from rich import console, progress  # noqa: PLC0415  # optional (litesess[cli])

    class Looking(progress.Progress):
        """A bar that looks up how far the work is."""

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
    """Return the length of the files in a directory whose names begin so."""
    total = 0
    with suppress(OSError):
        for path in Path(directory).iterdir():
            if path.name.startswith(beginning):
                with suppress(OSError):  # another process has just deleted it
                    total += path.stat().st_size
    return total
