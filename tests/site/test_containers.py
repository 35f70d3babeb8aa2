"""docs/containers.rst: its app, by its user and command, where all but the volume is read-only."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.servers import ROOT, SECRET, Client, Server

PAGE = (ROOT / "docs" / "containers.rst").read_text()
USER = 10001


def can_be_a_container() -> bool:
    if os.geteuid() != 0 or sys.platform != "linux":
        return False
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"],
        capture_output=True,
        check=False,
    )
    return tried.returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_be_a_container(), reason="mounts nothing: needs root on Linux"),
]


def block(kind: str) -> str:
    """Return the page's first block of a kind."""
    found = re.search(rf"code-block:: {kind}\n\n((?:    .*\n|\n)+)", PAGE)
    assert found is not None
    return re.sub(r"^    ", "", found[1], flags=re.MULTILINE)


def command() -> list[str]:
    """Return the command of the Dockerfile, on loopback, by the Python that runs this."""
    (line,) = re.findall(r"^CMD (.*)$", block("docker"), re.MULTILINE)
    parts = [sys.executable, "-m", *json.loads(line)]
    return [part.replace("0.0.0.0:8000", "127.0.0.1:{port}") for part in parts]


def container(place: Path, volume: Path) -> list[str]:
    """Return what runs the app in a root of its own: what there is, read-only, and a volume."""
    root, source = place / "root", place / "srv"
    root.mkdir(exist_ok=True)
    source.mkdir(exist_ok=True)
    (source / "app.py").write_text(block("python"))
    python = {Path(sys.base_prefix), Path(sys.prefix), ROOT}
    system = [path for name in ("bin", "etc", "lib", "lib64", "sbin", "usr") if
              (path := Path("/", name)).exists()]  # fmt: skip
    lines = ["set -e", f"R={shlex.quote(str(root))}", "mount -t tmpfs none $R", "chmod 755 $R"]
    for path in system:
        if path.is_symlink():
            lines.append(f"cp -P {path} $R{path}")
            continue
        lines.append(f"mkdir -p $R{path}; mount --bind {path} $R{path}")
    lines += [
        f"mkdir -p $R{path}; mount --bind {path} $R{path}"
        for path in sorted(python)
        if not path.is_relative_to("/usr")
    ]
    lines += [
        "mkdir $R/dev $R/proc $R/srv $R/data",
        "mount --rbind /dev $R/dev; mount -t proc none $R/proc",
        f"mount --bind {shlex.quote(str(source))} $R/srv",
        f"mount --bind {shlex.quote(str(volume))} $R/data",
        "mount -o remount,ro $R",
        f"exec chroot --userspec={USER}:{USER} --groups={USER} $R env -i HOME=/nonexistent"
        f" SESSION_SECRET={shlex.quote(SECRET)} SESSION_PATH=/data/sessions PYTHONPATH={ROOT}"
        " PYTHONDONTWRITEBYTECODE=1 sh -c 'cd /srv && exec \"$@\"' - "
        + shlex.join(command()).replace("'127.0.0.1:{port}'", "127.0.0.1:{port}"),
    ]
    return ["unshare", "--mount", "sh", "-c", "\n".join(lines)]


def as_kubelet_mounts_it(volume: Path) -> None:
    """Give the group of fsGroup all of a volume.

    Source: Kubernetes, pkg/volume/volume_linux.go, SetVolumeOwnership.
    """
    for path in [volume, *volume.rglob("*")]:
        os.chown(path, -1, USER)
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode | (0o2770 if path.is_dir() else 0o660))


def visits(server: Server, client: Client) -> str:
    client.server = server
    return client.request("GET", "/").text


def test_the_app_of_the_page_serves_and_keeps_its_sessions(tmp_path: Path) -> None:
    for above in (tmp_path, *tmp_path.parents[:3]):
        above.chmod(above.stat().st_mode | 0o011)
    volume = tmp_path / "volume"
    volume.mkdir()
    as_kubelet_mounts_it(volume)
    run = container(tmp_path, volume)
    with Server(run, tmp_path) as server, Client(server) as client:
        assert visits(server, client) == "visit 1\n"
        assert visits(server, client) == "visit 2\n"
        assert "WARNING" not in server.output
        server.stop()
        sessions = volume / "sessions"
        assert sessions.stat().st_uid == USER
        as_kubelet_mounts_it(volume)
        with Server(run, tmp_path) as again:
            assert visits(again, client) == "visit 3\n"
            assert again.output.count("0660") >= 1
            assert "remove" not in again.output
            again.stop()
        assert {stat.S_IMODE(path.stat().st_mode) for path in sessions.iterdir()} == {0o600}
        assert stat.S_IMODE(sessions.stat().st_mode) & 0o022 == 0
