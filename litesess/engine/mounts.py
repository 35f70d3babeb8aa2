"""Mounted file systems: which of them several processes may share, and what lies at a path."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

#: Where other machines may write, or memory and locks may not be shared as on a local disk.
_NETWORK: Final = re.compile(
    r"nfs4?|cifs|smb3|smbfs|ncpfs|9p|afs|coda|ceph|lustre|gpfs|glusterfs|beegfs|pvfs2|orangefs"
    r"|virtiofs|vboxsf|vmhgfs|prl_fs|davfs"
    r"|fuse\.(sshfs|glusterfs|ceph(-fuse)?|s3fs|s3ql|gcsfuse|rclone|juicefs|mfs|moosefs"
    r"|davfs2?|curlftpfs|vmhgfs-fuse|grpcfuse|osxfs|beegfs|lizardfs|seaweedfs|ipfs)"
)
#: Those that put one directory over another.
_LAYERED: Final = re.compile(r"overlay(fs)?|aufs|fuse\.(fuse-overlayfs|unionfs(-fuse)?|mergerfs)")
_MOUNTS: Final = Path("/proc/self/mountinfo")


def network_type(path: str) -> str:
    """Return the type of the network file system that *path* lies on; "" on none.

    Source: proc_pid_mountinfo(5).  Where there is no such file it can't be told.
    """
    kind = _type_of(path)
    return kind if _NETWORK.fullmatch(kind) else ""


def _type_of(path: str) -> str:
    try:
        mounts = _MOUNTS.read_text("utf-8", "surrogateescape")
    except OSError:
        return ""
    return mounted_type(mounts.splitlines(), path)


def shares_memory(path: str, *, read_only: bool) -> bool:
    """Return whether what other processes write below *path* shows at once in mapped memory.

    In an overlay a file that is open for reading alone may be one of a lower layer: its memory
    stays as it is when a writer copies it up.
    Source: Linux, Documentation/filesystems/overlayfs.rst, "Non-standard behavior".

    Args:
        path: absolute.
        read_only: the files are opened for reading alone.
    """
    kind = _type_of(path)
    return not (_NETWORK.fullmatch(kind) or (read_only and _LAYERED.fullmatch(kind)))


def mounted_type(mounts: Iterable[str], path: str) -> str:
    """Return the type of the file system that *path* lies on, by the lines of mountinfo."""
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
