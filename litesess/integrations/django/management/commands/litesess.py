"""``manage.py litesess ...``: the commands of ``litesess`` on the store of the project."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, ClassVar

from django.core.management.base import BaseCommand

from litesess.cli import lent
from litesess.integrations.django.configured import manager


class Command(BaseCommand):
    """The command of ``manage.py``; its arguments are those of the command line ``litesess``."""

    help = "Looks after the project's sessions."
    requires_system_checks: ClassVar[list[str]] = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Run the command of the command line; end the process with its exit status."""
        # Django's own two, which it has read already, may stand anywhere.
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        parser.add_argument("--settings")
        parser.add_argument("--pythonpath")
        _, words = parser.parse_known_args(argv[2:])
        sys.exit(lent.run(f"{Path(argv[0]).name} {argv[1]}", manager().store, words))

    def add_arguments(self, parser: Any) -> None:
        """Take the words of a command, for ``call_command()``."""
        parser.add_argument("words", nargs=argparse.REMAINDER)

    def handle(self, *_arguments: Any, **options: Any) -> None:
        """Run a command for ``call_command()``.

        Raises:
            SystemExit: it has failed.
        """
        status = lent.run("litesess", manager().store, options["words"])
        if status:
            sys.exit(status)
