"""Root acts as the owner of the store: what root makes or changes the workers could not read.

Only the effective ids are changed, so that what the operator names beside the store, such as the
file of an export, is read and made with the operator's own rights.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Identity(NamedTuple):
    """Who a process acts as."""

    uid: int
    gid: int
    groups: list[int]


def owner_of(path: str) -> Identity | None:
    """Return whom to act as on the store in the directory *path*.

    None: as whoever runs this.  Where the directory is missing, the owner of the nearest one above
    it counts.

    Raises:
        OSError: the directory can't be looked at.
    """
    if os.geteuid() != 0:
        return None
    directory = Path(path).resolve()
    while not directory.exists():
        directory = directory.parent
    status = directory.stat()
    if status.st_uid == 0:
        return None
    try:
        known = pwd.getpwuid(status.st_uid)
    except KeyError:  # a container's user may have no name
        return Identity(status.st_uid, status.st_gid, [status.st_gid])
    groups = os.getgrouplist(known.pw_name, known.pw_gid)
    return Identity(status.st_uid, known.pw_gid, groups)


@contextmanager
def acting_as(identity: Identity | None) -> Iterator[None]:
    """Have the rights of *identity* in the block, no more and no less; None: those there are."""
    if identity is None:
        yield
        return
    former = Identity(os.geteuid(), os.getegid(), os.getgroups())
    try:
        _become(identity)
        yield
    finally:
        _become(former)


@contextmanager
def acting_as_operator() -> Iterator[None]:
    """Have the rights of whoever runs this again, inside of :func:`acting_as`."""
    is_changed = os.getuid() == 0 != os.geteuid()
    with acting_as(Identity(0, os.getgid(), [os.getgid()]) if is_changed else None):
        yield


def _become(identity: Identity) -> None:
    # Order: groups can be changed by root alone, so that comes back first and goes last.
    os.seteuid(0)
    os.setgroups(identity.groups)
    os.setegid(identity.gid)
    os.seteuid(identity.uid)


def make_directory(path: str) -> bool:
    """Make a directory for a copy of the store, private, and of whoever this acts as.

    Its parent must be there: root could make one that the owner can't enter.

    Returns:
        Whether it was missing.

    Raises:
        OSError: it can't be made.
    """
    uid, gid = os.geteuid(), os.getegid()
    with acting_as_operator():
        try:
            Path(path).mkdir(0o700)
        except FileExistsError:
            return False
        if os.geteuid() != uid:
            os.chown(path, uid, gid)
        # Order: the name is durable before what is put there.
        above = os.open(Path(path).absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(above)
        finally:
            os.close(above)
    return True
