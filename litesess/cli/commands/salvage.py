"""``litesess salvage``: get the certain sessions out of a damaged store."""

from __future__ import annotations

import argparse
from typing import Final

from litesess.cli import output, probe, progress, target
from litesess.cli.address import parse_directory
from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit
from litesess.cli.opening import LocatedDirectory, located_directory
from litesess.engine import Salvaged

_CURE: Final = (
    "stop the processes that use it first: a salvage can't tell damage from a write under way"
)

_NOT_IN_REDIS: Final = "after damage in Redis, go back to a backup of Redis"


def add_to(commands: Commands) -> None:
    """Add the command."""
    salvage = commands.add(
        "salvage",
        _run,
        "get the certain sessions out of a damaged store that no process uses",
        about="The store is left as it is.  If the damaged part may have ended a session, that"
        " session is left out.",
        example="litesess salvage /srv/app/data /srv/app/data.new",
    )
    salvage.takes_store(writes=False, not_in_redis=_NOT_IN_REDIS).prints()
    salvage.add(
        "target",
        type=parse_directory,
        metavar="TARGET",
        help="empty, or to be made; its parent must exist",
    )


def _run(options: argparse.Namespace) -> int:
    damaged = located_directory(options)
    with probe.alone(*damaged.address, _CURE), target.made(options.target, damaged) as new:
        new.claim()
        found, live = _rescued(damaged, new.path)
    holes = [str(hole) for hole in found.holes]
    words = (
        f"{output.counted(found.kept, 'session')} kept, of which {live} have not expired;"
        f" {found.doubtful} left out, because the damage may have ended them"
    )
    output.report(
        options,
        "\n".join([words, *(f"not readable: {output.printable(hole)}" for hole in holes)]),
        directory=new.path,
        kept=found.kept,
        live=live,
        doubtful=found.doubtful,
        holes=holes,
    )
    return Exit.DONE


def _rescued(damaged: LocatedDirectory, path: str) -> tuple[Salvaged, int]:
    with damaged.like(path) as rescued:
        with progress.bar("salvaging"):
            # By its path: no store can be opened on files that may begin with anything.
            found = rescued.salvage(
                damaged.address.path,
                collection=damaged.address.collection,
                encryption_key=damaged.key,
            )
        return found, len(rescued)
