"""Only an app that comes from Beaker loads ``litesess.beaker``."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.tools.commands import environment, fill

LOADED = """
import sys
from litesess.cli import main
try:
    main(sys.argv[1:])
finally:
    print([name for name in sys.modules if name.startswith("litesess.beaker")], file=sys.stderr)
"""


def loaded_by(*arguments):
    """Return which modules of Beaker's room a command has loaded."""
    told = subprocess.run(
        [sys.executable, "-c", LOADED, *map(str, arguments)],
        capture_output=True,
        env=environment(),
        text=True,
        check=True,
    )
    return told.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", ["stats", "list", "import"])
def test_other_commands_do_not_load_it(command, tmp_path):
    fill(tmp_path)
    assert loaded_by(command, tmp_path) == "[]"


def test_the_help_of_all_commands_lists_its_command():
    assert "litesess.beaker.command" in loaded_by("--help")


def test_the_integrations_and_the_package_do_not_load_it():
    script = (
        "import litesess, litesess.integrations.flask, sys;"
        "print([name for name in sys.modules if 'beaker' in name])"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, env=environment(), check=True
    )
    assert told.stdout == b"[]\n"
