"""``litesess verify``: whether every byte that counts is as it was written."""

from __future__ import annotations

import argparse
from typing import Final

from litesess.cli import output, progress
from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit
from litesess.cli.opening import opened_directory

_NOT_IN_REDIS: Final = (
    "Redis checks its own files, with redis-check-rdb and redis-check-aof; `litesess list` reads"
    " each session"
)


def add_to(commands: Commands) -> None:
    """Add the command."""
    commands.add(
        "verify",
        _run,
        "check every byte that counts",
        about="It takes no lock; reading a large store keeps the disk busy.",
        example="litesess verify /srv/app/data",
    ).takes_store(writes=False, not_in_redis=_NOT_IN_REDIS).prints()


def _run(options: argparse.Namespace) -> int:
    with opened_directory(options, read_only=True) as store:
        with progress.bar("verifying"):
            found = store.verify()
        facts = {"path": store.path, "good": True, **found._asdict()}
        output.print_facts(facts, as_json=options.json)
    return Exit.DONE
