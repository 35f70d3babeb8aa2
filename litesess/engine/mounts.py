"""Mounted file systems: their types, and whether several processes can share them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

#: Where locks exclude all processes, memory is shared, and a call of a killed process ends with it.
#: Elsewhere (a network, FUSE, a share of a virtual machine's host) some of it may not; of those
#: fuse-overlayfs was tried, and held.
LOCAL_TYPES: Final = frozenset({
    "apfs", "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "fuse.fuse-overlayfs", "hfs",
    "jfs", "nilfs2", "overlay", "ramfs", "reiserfs", "rootfs", "tmpfs", "ubifs", "ufs", "xfs",
    "zfs",
})  # fmt: skip
#: Those of them that put one directory over another.
_LAYERED: Final = frozenset({"fuse.fuse-overlayfs", "overlay"})
_MOUNTS: Final = Path("/proc/self/mountinfo")


def type_of(path: str) -> str:
    """Return the type of the file system that *path* lies on; "" if that can't be told.

    Source: proc_pid_mountinfo(5).  Other systems than Linux have no such file, nor may a chroot.
    """
    try:
        mounts = _MOUNTS.read_text("utf-8", "surrogateescape")
    except OSError:
        return ""
    return mounted_type(mounts.splitlines(), path)


def shares_memory(path: str, *, read_only: bool) -> bool:
    """Return whether mapped memory shows at once the writes of other processes below *path*.

    In an overlay a file that is open for reading alone may be one of a lower layer: its memory
    stays as it is when a writer copies it up.
    Source: Linux, Documentation/filesystems/overlayfs.rst, "Non-standard behavior".

    Args:
        path: absolute.
        read_only: the files are opened for reading alone.
    """
    kind = type_of(path)
    return not kind or (kind in LOCAL_TYPES and not (read_only and kind in _LAYERED))


def mounted_type(mounts: Iterable[str], path: str) -> str:
    """Return the type of the file system that *path* lies on, by the lines of mountinfo.

    A type of FUSE may be ``fuse`` alone.
    """
    nearest, kind = "", ""
    for line in mounts:
        # 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw
        fields, _, rest = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields.split()[4])
        inside = point.rstrip("/") + "/"
        # Of those mounted upon each other the last one counts.
        if f"{path}/".startswith(inside) and len(inside) >= len(nearest):
            nearest, kind = inside, rest.split()[0]
    return kind


def is_at(fd: int, path: str) -> bool:
    """Return whether *path* leads to the open directory; True if that can't be told.

    Raises:
        OSError: the disk failed.
    """
    try:
        found = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError:  # a process that gave up rights after it had opened the directory
        return True
    return os.path.samestat(found, os.fstat(fd))


def device_of(fd: int) -> int:
    """Return the device that an open directory lies on, as a number of 64 bits."""
    return os.fstat(fd).st_dev & ((1 << 64) - 1)


def device_name(device: int) -> str:
    """Return how mountinfo names a device."""
    return f"{os.major(device)}:{os.minor(device)}"
