"""The commands that change a store in use: revoke, gc, compact, rekey, passwd."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from litesess.cli import encryption, output, progress
from litesess.cli.arguments import Commands, handle
from litesess.cli.exits import Exit, Failure
from litesess.cli.looking import no_such
from litesess.cli.opening import Opened, opened
from litesess.engine import new_snapshot_bytes


def add_to(commands: Commands) -> None:
    """Add these commands."""
    _add_revoke(commands)
    commands.add(
        "gc",
        _gc,
        "delete the sessions that have expired",
        about="The workers do so by themselves; while one is just at it nothing is left to do.",
        example="litesess gc /srv/app/data",
    ).takes_store(writes=True).prints()
    commands.add(
        "compact",
        _compact,
        "give back the room of deleted sessions",
        about="It needs room for one more copy of the store meanwhile.",
        example="litesess compact /srv/app/data",
    ).takes_store(writes=True).prints()
    rekey = commands.add(
        "rekey",
        _rekey,
        "encrypt everything anew, under another random key",
        about="With --new or --new-key-file the passphrase or key that opens the store is"
        " replaced, too; workers that have the former one must be restarted then.",
        example="litesess rekey /srv/app/data",
    )
    rekey.takes_store(writes=True).takes_new_key("the new encryption key").prints()
    rekey.add("--new", action="store_true", help="replace what opens the store, too")
    passwd = commands.add(
        "passwd",
        _passwd,
        "change the passphrase or key that opens the store",
        about="Nothing is encrypted anew, and running workers go on: give the new one to those"
        " that are started from then on.  After a leak use rekey --new.",
        example="litesess passwd /srv/app/data",
    )
    passwd.takes_store(writes=True).takes_new_key("the new encryption key").prints()


def _add_revoke(commands: Commands) -> None:
    revoke = commands.add(
        "revoke",
        _revoke,
        "end sessions",
        about="They stay ended, whatever is under way.",
        example="litesess revoke /srv/app/data --owner ada",
    )
    revoke.takes_store(writes=True).prints()
    revoke.add(
        "handles", nargs="*", type=handle, metavar="HANDLE", help="of a session, as in `list`"
    )
    which = revoke.parser.add_mutually_exclusive_group()
    which.add_argument("--owner", metavar="OWNER", help="all sessions of OWNER")
    which.add_argument("--all", action="store_true", help="all sessions there are")


def _revoke(options: argparse.Namespace) -> int:
    if bool(options.handles) + (options.owner is not None) + options.all != 1:
        raise Failure(Exit.USAGE, "revoke what: give handles, or --owner, or --all")
    with opened(options) as source:
        if options.all:
            source.store.clear()
            _report(options, "all sessions were revoked", revoked="all")
        elif options.owner is not None:
            count = source.store.delete_owner(options.owner)
            _report(options, f"{output.counted(count, 'session')} revoked", revoked=count)
        else:
            _revoke_handles(source, options)
    return Exit.DONE


def _revoke_handles(source: Opened, options: argparse.Namespace) -> None:
    missing, count = [], 0
    for each in options.handles:
        key = source.store.locate(each)
        if key is not None and source.store.delete(key):
            count += 1
        else:
            missing.append(each)
    _report(options, f"{output.counted(count, 'session')} revoked", revoked=count)
    if missing:
        raise no_such(", ".join(missing))


def _gc(options: argparse.Namespace) -> int:
    with opened(options) as source, progress.bar("collecting"):
        count = source.store.collect()
    _report(options, f"{output.counted(count, 'expired session')} deleted", deleted=count)
    return Exit.DONE


def _compact(options: argparse.Namespace) -> int:
    with opened(options) as source:
        before = _size(source)
        with _rewriting(source, "compacting"):
            source.store.compact()
        after = _size(source)
    _report(
        options,
        f"{output.size(before)} before, {output.size(after)} after",
        before_bytes=before,
        after_bytes=after,
    )
    return Exit.DONE


def _rekey(options: argparse.Namespace) -> int:
    wants_new = options.new or options.new_key_file is not None
    given = encryption.new_given(options) if wants_new else None
    with opened(options) as source:
        _check_encrypted(source)
        new = encryption.new_key(options, source.place.kind, given) if wants_new else None
        with _rewriting(source, "encrypting anew"):
            source.store.rekey(new)
    also = "; restart what has only the former key" if wants_new else ""
    _report(options, f"everything is encrypted anew{also}", rekeyed=True, new_key=wants_new)
    return Exit.DONE


def _passwd(options: argparse.Namespace) -> int:
    given = encryption.new_given(options)
    with opened(options) as source:
        _check_encrypted(source)
        new = encryption.new_key(options, source.place.kind, given)
        source.store.change_key(new)
    _report(options, "the new key opens the store, the former one no more", changed=True)
    return Exit.DONE


def _check_encrypted(source: Opened) -> None:
    if source.place.kind is None:
        raise Failure(
            Exit.KEY,
            f"{source.store.path} is not encrypted; to encrypt it, import an export of it into a"
            " new one",
        )


@contextmanager
def _rewriting(source: Opened, label: str) -> Iterator[None]:
    """Show how much of a new snapshot is written: about as much as there is."""

    def done() -> int:
        return new_snapshot_bytes(source.store.path, source.place.collection)

    with progress.bar(label, lambda: _size(source), done=done, in_bytes=True):
        yield


def _size(source: Opened) -> int:
    """Return what the sessions take on the disk, in bytes; what is only reserved not counted."""
    stats = source.store.stats()
    return stats.log_bytes + stats.snapshot_bytes


def _report(options: argparse.Namespace, words: str, **facts: object) -> None:
    if options.json:
        output.print_json(facts)
    else:
        output.print_line(words)
