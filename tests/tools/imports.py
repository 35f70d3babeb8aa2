"""Checks of both commands that import other libraries' sessions from files."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from litesess.cli.exits import Exit
from litesess.ids import handle_of


def check_refusal(told: Any, key: str, reason: str, path: Path) -> None:
    """Check that an import has refused one file: it is named by its handle, and still there.

    Args:
        told: the outcome of the command.
        key: of the session in the file.
        reason: part of the message.
        path: of the file.
    """
    assert told.code == Exit.BAD_LINE
    assert re.match(
        f"litesess: warning: {handle_of(key)} is not imported: .*{re.escape(reason)}.*\n", told.err
    )
    assert path.stem not in told.err
    assert path.exists()


def check_cut_files(
    whole: bytes, write: Callable[[bytes], object], import_all: Callable[[str], Any]
) -> None:
    """Check that of a file and of copies that were cut, only the file is imported.

    Args:
        whole: the content of the file, which is there.
        write: writes a file with that content.
        import_all: imports all files.
    """
    cuts = range(0, len(whole), 3)
    for cut in cuts:
        write(whole[:cut])
    told = import_all("--json")
    assert told.json["refused"] == len(cuts)
    assert told.json["created"] == 1
