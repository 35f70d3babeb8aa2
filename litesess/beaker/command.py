"""``litesess import-beaker``: add the sessions that Beaker keeps in files."""

from __future__ import annotations

import argparse
from pathlib import Path

from litesess.beaker.files import DBM, FILES, BeakerFiles
from litesess.cli.arguments import Commands, interval
from litesess.cli.exits import Exit, Failure
from litesess.cli.importing import take_arguments
from litesess.moving import importing


def add_to(commands: Commands) -> None:
    """Add the command."""
    imports = commands.add(
        "import-beaker",
        _run,
        "add sessions that Beaker keeps in files, if their values are plain",
        about="Nothing is unpickled: a session that holds objects of a class is named by its"
        " handle, and left where it is.  The file of an imported session gets the suffix .imported,"
        " so that it is not imported again after its user has logged out.  Stop the app that uses"
        " Beaker first; litesess.beaker honours its cookies.  An app with session.encrypt_key needs"
        " a store that is encrypted by that key: give it to --create.",
        example="litesess import-beaker --create --timeout 3600 /srv/app/data /srv/app/beaker",
    )
    take_arguments(imports)
    imports.add("directory", metavar="DIR", help="Beaker's data_dir, or its file_dir")
    imports.add(
        "--timeout",
        type=interval,
        required=True,
        metavar="SECONDS",
        help="Beaker's timeout: a session ends so long after its last use",
    )


def _run(options: argparse.Namespace) -> int:
    return importing.run(options, lambda: BeakerFiles(_top(options.directory), options.timeout))


def _top(directory: str) -> Path:
    """Return the directory of the files, which lies below Beaker's data_dir or is *directory*.

    Raises:
        Failure: the directory holds no sessions of Beaker's in files.
    """
    given = Path(directory)
    if (given / FILES).is_dir():
        return given / FILES
    if (given / DBM).is_dir():
        raise Failure(Exit.PATH, f"{directory}: has sessions in dbm files, which can't be imported")
    if not given.is_dir() or next(given.glob("?/??/*.cache*"), None) is None:
        raise Failure(Exit.PATH, f"{directory}: has no sessions of Beaker's; give its data_dir")
    return given
