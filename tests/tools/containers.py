"""Commands in a root of their own: the machine's files, read-only, and writable directories."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.tools.servers import ROOT

_SYSTEM = ("bin", "etc", "lib", "lib64", "sbin", "usr")


def can_be_contained() -> bool:
    """Return whether this process may mount such a root."""
    if os.geteuid() != 0 or sys.platform != "linux":
        return False
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"],
        capture_output=True,
        check=False,
    )
    return tried.returncode == 0


def contained(place: Path, writable: Mapping[str, Path], run: str) -> list[str]:
    """Return the command that runs *run* in such a root.

    Args:
        place: a directory for the root's own mount point.
        writable: directories by their paths inside; where those lie, nothing else is.
        run: a line of the shell; ``$R`` is the root, for chroot(8).
    """
    root = place / "root"
    root.mkdir(exist_ok=True)
    system = [path for name in _SYSTEM if (path := Path("/", name)).exists()]
    lines = ["set -e", f"R={shlex.quote(str(root))}", "mount -t tmpfs none $R", "chmod 755 $R"]
    for path in system:
        if path.is_symlink():
            lines.append(f"cp -P {path} $R{path}")
            continue
        lines.append(f"mkdir -p $R{path}; mount --bind {path} $R{path}")
    # The parents are new directories: the real ones can be closed, as root's home is.
    lines += [
        f"mkdir -p $R{path}; mount --bind {path} $R{path}"
        for path in sorted({Path(sys.base_prefix), Path(sys.prefix), ROOT})
        if not path.is_relative_to("/usr")
    ]
    lines.append("mkdir $R/dev $R/proc; mount --rbind /dev $R/dev; mount -t proc none $R/proc")
    lines += [
        f"mkdir -p $R{path}; mount --bind {shlex.quote(str(source))} $R{path}"
        for path, source in writable.items()
    ]
    return ["unshare", "--mount", "sh", "-c", "\n".join([*lines, "mount -o remount,ro $R", run])]
