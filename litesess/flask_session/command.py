"""``litesess import-flask-session``: add the sessions that Flask-Session keeps in files."""

from __future__ import annotations

import argparse
from pathlib import Path

from litesess.cli.arguments import Commands, interval
from litesess.cli.exits import Exit, Failure
from litesess.cli.importing import take_arguments
from litesess.flask_session.files import OWNER_KEY, FlaskSessionFiles, is_of_flask_session
from litesess.moving import importing


def add_to(commands: Commands) -> None:
    """Add the command."""
    imports = commands.add(
        "import-flask-session",
        _run,
        "add sessions that Flask-Session keeps in files, if their values are plain",
        about="Nothing is unpickled: a session that holds objects of a class is named by its"
        " handle, and left where it is.  The file of an imported session gets the suffix .imported,"
        " so that it is not imported again after its user has logged out.  Stop the app that uses"
        " Flask-Session first; litesess.flask_session honours its cookies.",
        example="litesess import-flask-session --create /srv/app/data /srv/app/flask_session",
    )
    take_arguments(imports)
    imports.add(
        "directory",
        metavar="DIR",
        help="Flask-Session's SESSION_FILE_DIR, or the directory of its FileSystemCache",
    )
    imports.add(
        "--timeout",
        type=interval,
        metavar="SECONDS",
        help="the life since its last use of a session whose file has no end; without this option"
        " such a session is refused",
    )
    imports.add(
        "--owner-key",
        default=OWNER_KEY,
        metavar="KEY",
        help=f"the session key whose value is the owner (default: {OWNER_KEY}, Flask-Login's)",
    )


def _run(options: argparse.Namespace) -> int:
    return importing.run(
        options,
        lambda: FlaskSessionFiles(_top(options.directory), options.timeout, options.owner_key),
    )


def _top(directory: str) -> Path:
    """Return the directory of the files.

    Raises:
        Failure: it has no files of Flask-Session's.
        OSError: it can't be read.
    """
    given = Path(directory)
    if not given.is_dir() or not is_of_flask_session(given):
        raise Failure(
            Exit.PATH,
            f"{directory}: has no sessions of Flask-Session's; give its SESSION_FILE_DIR, or the"
            " directory of its FileSystemCache",
        )
    return given
