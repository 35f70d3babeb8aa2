"""Running the command line: in this process, or as one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from litesess import Record, WALStore
from litesess.ids import key_of
from tests.tools.servers import PATIENCE, ROOT

#: After the end of any test.
LATER = 4e9
LITESESS = [sys.executable, "-m", "litesess"]


class Outcome(NamedTuple):
    """The result of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object that it printed."""
        (line,) = self.out.splitlines()
        return json.loads(line)


Run = Callable[..., Outcome]


def environment(**added: str) -> dict[str, str]:
    """Return an environment in which a user would run a command."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LITESESS_", "PYTHON")) and name not in ("NO_COLOR", "TERM")
    }
    return {**ours, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **added}


def start(*arguments: object, env: Mapping[str, str] | None = None, **options: Any) -> Any:
    """Start a command as a process."""
    given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        [*LITESESS, *map(str, arguments)],
        env=environment(**(env or {})),
        text=True,
        **(given | options),
    )


def run(*arguments: object, env: Mapping[str, str] | None = None, **options: Any) -> Outcome:
    """Run a command as a process, to its end."""
    with start(*arguments, env=env, **options) as process:
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except BaseException:
            process.kill()
            raise
    return Outcome(process.returncode, out, err)


def fill(path: Path, count: int = 3, **options: Any) -> list[str]:
    """Make a store of *count* sessions, owned by ada and eve in turn; return the keys."""
    keys = [key_of(f"session {at}") for at in range(count)]
    with WALStore(path, **{"durable": False, **options}) as store:
        for at, key in enumerate(keys):
            data = {"user": f"secret{at}", "cart": [at]}
            owner = ("ada", "eve")[at % 2]
            store.create(key, Record(data, 1e9 + at, LATER, owner=owner, last_seen_at=1e9 + 200))
    return keys


def content(path: Path) -> dict[str, bytes]:
    """Return the files of a directory by name."""
    return {file.name: file.read_bytes() for file in path.iterdir()}
