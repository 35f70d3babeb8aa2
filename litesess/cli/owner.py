"""Root becomes the owner of the store, and stays so until the process ends.

The owner of the directory can exchange each name in it at any moment.  Root could change or remove
any file of the machine by a name that leads elsewhere by then.  As the owner the command has only
the rights of the owner, so it becomes the owner before it opens, makes or removes a file of a
store::

    the key files and the imported files        read as root: they may be root's own
    the directory                               opened as root, by descriptor, to find its owner
    setgroups, setgid, setuid                   real, effective and saved: there is no way back
    everything else                             as the owner

No other process of the owner can read the memory of this one, which may have keys of root's: a
process that has changed its ids is not dumpable.  Source: PR_SET_DUMPABLE in prctl(2), ptrace(2).
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Final, NamedTuple

import litesess
from litesess import crypto, engine, stores, web
from litesess.cli import progress
from litesess.cli.exits import Exit, Failure
from litesess.cli.reaching import nearest_directory

_NOGROUP: Final = 65534


class Identity(NamedTuple):
    """The user that a process acts as."""

    uid: int
    gid: int
    groups: list[int]

    def __str__(self) -> str:
        try:
            return f"uid {self.uid} ({pwd.getpwuid(self.uid).pw_name})"
        except KeyError:
            return f"uid {self.uid}"


def become_owner(*paths: str) -> Identity | None:
    """Become the owner of the stores' directories for good, if root runs the process.

    If a directory is missing, the owner of the nearest one above it counts.

    Args:
        *paths: the directories.

    Returns:
        The owner; None: the user has not changed, as it is not root, or root is the owner.

    Raises:
        Failure: the directories belong to different users, a link leads there that root does not
            follow, or the process can't change its user.
        OSError: a directory can't be reached.
    """
    if os.geteuid() != 0 or not paths:
        return None
    found = [_status_of(path) for path in paths]
    if len({status.st_uid for status in found}) > 1:
        raise Failure(
            Exit.PATH,
            "the two directories belong to different users, and root works on a store only as its"
            " owner; export the sessions as the one and import them as the other:"
            " litesess export PATH | litesess import PATH",
        )
    if found[0].st_uid == 0:
        return None
    identity = _identity_of(found[0])
    _load_modules()  # Order: first, as only root may be able to read them.
    _become(identity)
    return identity


def _load_modules() -> None:
    """Import all that a command may use."""
    crypto.preload()
    engine.preload()
    for package in (litesess, engine, stores, web):
        for name in package.__all__:
            getattr(package, name)
    with suppress(ImportError):  # the package redis is optional
        import_module("litesess.stores.redis.store")
    progress.load()


def _status_of(path: str) -> os.stat_result:
    with nearest_directory(path) as fd:
        return os.fstat(fd)


def _identity_of(status: os.stat_result) -> Identity:
    try:
        known = pwd.getpwuid(status.st_uid)
    except KeyError:  # a container's user may have no name
        # The directory's group proves little, and must not be root's.
        gid = status.st_gid or _NOGROUP
        return Identity(status.st_uid, gid, [gid])
    groups = os.getgrouplist(known.pw_name, known.pw_gid)
    return Identity(status.st_uid, known.pw_gid, groups)


def _become(identity: Identity) -> None:
    try:
        # Order: only root can change groups.  Source: setuid(2), of root, sets all three ids.
        os.setgroups(identity.groups)
        os.setgid(identity.gid)
        os.setuid(identity.uid)
    except OSError as error:
        raise Failure(
            Exit.PATH,
            f"root can't become {identity}, the owner of the store: {error.strerror};"
            " run the command as that user",
        ) from error
    # Guards: capabilities may have been kept, by securebits (capabilities(7)).
    with suppress(PermissionError):
        os.seteuid(0)
        raise Failure(
            Exit.PATH,
            f"root has become {identity} and can still come back; run the command as that user",
        )


@contextmanager
def writing_to(path: str, identity: Identity | None, cure: str) -> Iterator[None]:
    """Name *path* in the errors of the block, which works there by descriptor.

    Args:
        path: as the operator gave it.
        identity: the user that root has become; None: the user has not changed.
        cure: the advice about a missing permission, if it has.
    """
    try:
        yield
    except OSError as error:
        if identity is None or not isinstance(error, PermissionError):
            raise OSError(error.errno, error.strerror, path) from error
        raise Failure(
            Exit.PATH,
            f"{path}: {error.strerror} to {identity}, the owner of the store, and root works as"
            f" that user; {cure}",
        ) from error
