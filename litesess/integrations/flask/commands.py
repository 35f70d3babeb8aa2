"""``flask litesess ...``: the store of the app, for the operator.

The command line ``litesess`` does more, and needs no app.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from flask import current_app
from flask.cli import AppGroup

from litesess.errors import StoreError
from litesess.stores.wal import WALStore

if TYPE_CHECKING:
    from litesess.stores.base import Store

commands = AppGroup("litesess", help="Look after the app's sessions.")


@contextmanager
def _store() -> Iterator[Store]:
    """Lend the app's store; what it can't do ends the command."""
    try:
        store: Store = current_app.extensions["litesess"].store
        if isinstance(store, WALStore):
            _check_user(store.path)
        yield store
    except StoreError as error:
        raise click.ClickException(str(error)) from error


def _check_user(path: str) -> None:
    """Refuse to make a directory that the workers, who run as another user, could not enter.

    One that is there the store itself refuses.  Root can't become the owner here, as the command
    line does: the app's own code has run as root by now.
    """
    directory = Path(path)
    while not directory.exists():
        directory = directory.parent
    owner = directory.stat().st_uid
    if os.geteuid() == 0 != owner:
        raise click.ClickException(
            f"{directory} belongs to uid {owner}, and this is root; run the command as that user"
        )


@contextmanager
def _store_on_disk() -> Iterator[WALStore]:
    with _store() as store:
        if not isinstance(store, WALStore):
            raise click.ClickException(f"{store!r} is not a WALStore")
        yield store


@commands.command("gc")
def collect() -> None:
    """Delete the sessions that have expired."""
    with _store() as store:
        click.echo(f"{store.collect()} expired sessions deleted")


@commands.command()
def compact() -> None:
    """Give back the room of deleted sessions."""
    with _store() as store:
        store.compact()
    click.echo("compacted")


@commands.command()
def verify() -> None:
    """Check every byte that counts."""
    with _store_on_disk() as store:
        for name, value in store.verify()._asdict().items():
            click.echo(f"{name} {value}")


@commands.command()
def stats() -> None:
    """Say how many sessions there are and how large the store is."""
    with _store_on_disk() as store:
        for name, value in asdict(store.stats()).items():
            if value is not None:
                click.echo(f"{name} {value}")


@commands.command()
@click.argument("handles", nargs=-1)
@click.option("--owner", help="All sessions of this owner.")
@click.option("--all", "is_all", is_flag=True, help="All sessions there are.")
def revoke(handles: tuple[str, ...], owner: str | None, *, is_all: bool) -> None:
    """End sessions, by their handles, or as an option says."""
    if bool(handles) + (owner is not None) + is_all != 1:
        raise click.UsageError("revoke what: give handles, or --owner, or --all")
    with _store() as store:
        if is_all:
            store.clear()
            click.echo("all sessions revoked")
            return
        if owner is not None:
            click.echo(f"{store.delete_owner(owner)} sessions revoked")
            return
        for handle in handles:
            key = store.locate(handle)
            if key is None or not store.delete(key):
                raise click.ClickException(f"no session has the handle {handle}")
            click.echo(f"{handle} revoked")
