"""The command line: what an operator does to a store, while the app's workers use it.

::

    arguments   what each command takes         exits      errors as one line and an exit code
    opening     options -> an open store        stopping   Ctrl-C and its like, once and orderly
    encryption  keys by file, variable, prompt  output     tables for people, JSON for programs
    owner       root acts as the owner          progress   bars, if rich is there

and the commands: ``looking`` (stats, list, show, verify), ``changing`` (revoke, gc, compact, rekey,
passwd), ``copying`` (backup, salvage), ``transfer`` (export, import, over ``lines``), ``beaker``
(import-beaker, over ``pickled``), ``moving`` (copy), ``making`` (secret, completion).
"""

from __future__ import annotations

from collections.abc import Sequence

from litesess.cli import beaker, changing, copying, looking, making, moving, transfer
from litesess.cli.arguments import Commands
from litesess.cli.exits import guarded


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Args:
        arguments: what stands behind ``litesess``; None: this process's.
    """
    commands = Commands()
    for module in (looking, changing, copying, transfer, beaker, moving):
        module.add_to(commands)
    making.add_to(commands)
    return guarded(lambda: commands.run(arguments))
