"""The command line, by which an operator looks after a store while the app's workers use it.

::

    commands/   a module for each command       exits      errors as one line and an exit code
    arguments   the arguments of a command      stopping   Ctrl-C and its like, once and orderly
    address     the address of a store          output     tables for people, JSON for programs
    opening     address -> an open store        progress   bars, if rich is installed
    encryption  keys by file, variable, prompt  sessions   the facts that commands print
    owner       root becomes the owner          lines      a session as a line of JSON
    reaching    paths that root can trust       importing  adding sessions, and counting them
    probe       a store before it is opened     target     a directory for a copy
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from litesess.cli.arguments import Commands
from litesess.cli.exits import guarded

#: The module of each command, in the order of the help.
MODULES: Final = {
    "stats": "litesess.cli.commands.stats",
    "list": "litesess.cli.commands.list",
    "show": "litesess.cli.commands.show",
    "verify": "litesess.cli.commands.verify",
    "revoke": "litesess.cli.commands.revoke",
    "gc": "litesess.cli.commands.gc",
    "compact": "litesess.cli.commands.compact",
    "rekey": "litesess.cli.commands.rekey",
    "passwd": "litesess.cli.commands.passwd",
    "backup": "litesess.cli.commands.backup",
    "salvage": "litesess.cli.commands.salvage",
    "export": "litesess.cli.commands.export",
    "import": "litesess.cli.commands.import_",
    "import-beaker": "litesess.beaker.command",
    "import-flask-session": "litesess.flask_session.command",
    "copy": "litesess.cli.commands.copy",
    "secret": "litesess.cli.commands.secret",
    "completion": "litesess.cli.commands.completion",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Args:
        arguments: the words after ``litesess``; None: those of this process, which ends then, so
            that signals are ignored from the return on.

    Raises:
        SystemExit: for ``--help`` and a wrong command line.
    """
    return guarded(lambda: Commands(MODULES).run(arguments), is_last=arguments is None)
