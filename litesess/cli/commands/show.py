"""``litesess show``: one session."""

from __future__ import annotations

import argparse
import json
from typing import Any

from litesess.cli import output
from litesess.cli.arguments import Commands, handle
from litesess.cli.exits import Exit
from litesess.cli.opening import opened
from litesess.cli.sessions import no_such, summary
from litesess.stores.base import Record, Store


def add_to(commands: Commands) -> None:
    """Add the command."""
    show = commands.add(
        "show",
        _run,
        "show one session",
        about="Its values are the user's secrets: without --data only their names and sizes show.",
        example="litesess show /srv/app/data 537bf0a4aeaefef7",
    )
    show.takes_store(writes=False).prints()
    show.add("handle", type=handle, metavar="HANDLE", help="of the session, as `list` prints it")
    show.add("--data", action="store_true", help="print its values, too, as JSON")


def _run(options: argparse.Namespace) -> int:
    with opened(options, read_only=True) as store:
        key, record = _found(store, options.handle)
    facts = summary(key, record)
    sizes = {name: len(frame) for name, frame in record.frames.items()}
    data = {"data": _json_of(record)} if options.data else {}
    if options.json:
        output.print_json({**facts, "values": sizes, **data})
        return Exit.DONE
    output.print_facts(facts, as_json=False)
    output.print_line(output.bold("values"))
    for name, size in sizes.items():
        output.print_line(f"  {output.printable(name)}: {output.size(size)}")
    if data:
        output.print_line(json.dumps(data["data"], indent=2))
    return Exit.DONE


def _found(store: Store, handle: str) -> tuple[str, Record]:
    key = store.locate(handle)
    record = None if key is None else store.load(key)
    if key is None or record is None:
        raise no_such(handle)
    return key, record


def _json_of(record: Record) -> dict[str, Any]:
    """Return the values as JSON; a type that JSON lacks is an object with one tagged member."""
    return {name: json.loads(frame) for name, frame in record.frames.items()}
