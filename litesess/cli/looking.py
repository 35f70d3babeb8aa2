"""The commands that change nothing: stats, list, show, verify.

They open the store for reading only: no recovery, no mark, no presence, no lock.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from typing import Any

from litesess import ids
from litesess.cli import output, progress
from litesess.cli.arguments import Commands, handle, interval
from litesess.cli.exits import Exit, Failure
from litesess.cli.opening import Opened, opened
from litesess.stores.base import Record
from litesess.stores.wal import WALStore


def add_to(commands: Commands) -> None:
    """Add these commands."""
    stats = commands.add(
        "stats",
        _stats,
        "say how many sessions there are and how large the store is",
        example="litesess stats --watch /srv/app/data",
    )
    stats.takes_store(writes=False).prints()
    stats.add("--watch", action="store_true", help="again and again, until Ctrl-C")
    stats.add(
        "--interval",
        type=interval,
        default=2.0,
        metavar="SECONDS",
        help="with --watch, between two looks (default: 2)",
    )
    listing = commands.add(
        "list",
        _list,
        "list the sessions",
        about="Each with its handle, when it began, was seen last and ends, its size, and whose"
        " it is.",
        example="litesess list --owner ada /srv/app/data",
    )
    listing.takes_store(writes=False).prints()
    listing.add("--owner", metavar="OWNER", help="only those of OWNER")
    show = commands.add(
        "show",
        _show,
        "show one session",
        about="Its values are the user's secrets: without --data only their names and sizes show.",
        example="litesess show /srv/app/data 537bf0a4aeaefef7",
    )
    show.takes_store(writes=False).prints()
    show.add("handle", type=handle, metavar="HANDLE", help="of the session, as `list` prints it")
    show.add("--data", action="store_true", help="print its values, too, as JSON")
    commands.add(
        "verify",
        _verify,
        "check every byte that counts",
        about="It takes no lock; reading a large store keeps the disk busy.",
        example="litesess verify /srv/app/data",
    ).takes_store(writes=False).prints()


def _stats(options: argparse.Namespace) -> int:
    with opened(options, read_only=True) as source:
        _print_stats(source, options)
        while options.watch:
            sys.stdout.flush()
            time.sleep(options.interval)
            if not options.json:
                # From the top again where that can be seen; else one after the other.
                output.print_line("\x1b[H\x1b[2J" if output.is_terminal(sys.stdout) else "")
            _print_stats(source, options)
    return Exit.DONE


def _print_stats(source: Opened, options: argparse.Namespace) -> None:
    stats = source.store.stats()
    facts = {
        "path": source.store.path,
        "collection": source.place.collection,
        "encrypted": source.place.kind is not None,
        "live": stats.live,
        "expired": stats.expired,
        "log_bytes": stats.log_bytes,
        "snapshot_bytes": stats.snapshot_bytes,
        "generation": stats.generation,
        "poisoned": stats.is_poisoned,
    }
    output.print_facts(facts, as_json=options.json)


def _list(options: argparse.Namespace) -> int:
    with opened(options, read_only=True) as source:
        store = source.store
        if not options.json:
            _print_heading()
        for key, record in sessions_of(store, options.owner):
            if options.json:
                output.print_json(_summary(key, record))
            else:
                _print_session(key, record)
    return Exit.DONE


def sessions_of(store: WALStore, owner: str | None) -> Iterable[tuple[str, Record]]:
    """Return the sessions of *owner*, oldest first; None: all there are, as they come."""
    if owner is None:
        return store.records()
    return sorted(store.find(owner), key=lambda found: found[1].created_at)


def _print_heading() -> None:
    widths = (("HANDLE", 16), ("BEGAN", 20), ("SEEN", 20), ("ENDS", 20), ("BYTES", 9), ("OWNER", 0))
    output.print_line(output.bold("  ".join(text.ljust(width) for text, width in widths)))


def _print_session(key: str, record: Record) -> None:
    output.print_row(
        [
            (ids.handle_of(key), 16),
            (output.instant(record.created_at), 20),
            (_instant(record.last_seen_at), 20),
            (output.instant(record.expires_at), 20),
            (output.size(_bytes_of(record)), 9),
            ("" if record.owner is None else output.printable(record.owner), 0),
        ]
    )


def _instant(seconds: float | None) -> str:
    return "" if seconds is None else output.instant(seconds)


def _show(options: argparse.Namespace) -> int:
    with opened(options, read_only=True) as source:
        key = find_key(source.store, options.handle)
        record = source.store.load(key)
        if record is None:
            raise no_such(options.handle)
        facts = _summary(key, record)
        sizes = {name: len(frame) for name, frame in record.frames.items()}
        data = _json_of(record) if options.data else None
        if options.json:
            output.print_json(
                {**facts, "values": sizes, **({} if data is None else {"data": data})}
            )
            return Exit.DONE
        output.print_facts(facts, as_json=False)
        output.print_line(output.bold("values"))
        for name, size in sizes.items():
            output.print_line(f"  {output.printable(name)}: {output.size(size)}")
        if data is not None:
            output.print_line(json.dumps(data, indent=2))
    return Exit.DONE


def find_key(store: WALStore, handle: str) -> str:
    """Return the key of the session that has the handle.

    Raises:
        Failure: none has.
    """
    key = store.locate(handle)
    if key is None:
        raise no_such(handle)
    return key


def no_such(handle: str) -> Failure:
    """Return the error for a handle that no session has."""
    return Failure(Exit.NOT_THERE, f"no session has the handle {handle}")


def _summary(key: str, record: Record) -> dict[str, Any]:
    """Return what may be shown of a session: not its key, not its values."""
    return {
        "handle": ids.handle_of(key),
        "owner": record.owner,
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "last_seen_at": record.last_seen_at,
        "bytes": _bytes_of(record),
        "cookie": None if record.cookie is None else dict(record.cookie),
        "client": None if record.client is None else dict(record.client),
    }


def _bytes_of(record: Record) -> int:
    return sum(map(len, record.frames.values()))


def _json_of(record: Record) -> dict[str, Any]:
    """Return the values as JSON has them, with what it lacks as tagged objects."""
    return {name: json.loads(frame) for name, frame in record.frames.items()}


def _verify(options: argparse.Namespace) -> int:
    with opened(options, read_only=True) as source:
        with progress.bar("verifying"):
            found = source.store.verify()
        facts = {"path": source.store.path, "good": True, **found._asdict()}
        output.print_facts(facts, as_json=options.json)
    return Exit.DONE
