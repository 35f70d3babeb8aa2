"""docs/containers.rst: its app, by its user and command, where all but the volume is read-only."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import sys
from pathlib import Path

import pytest

from tests.tools.containers import can_be_contained, contained
from tests.tools.servers import ROOT, SECRET, Client, Server

PAGE = (ROOT / "docs" / "containers.rst").read_text()
USER = 10001


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_be_contained(), reason="mounts nothing: needs root on Linux"),
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
    source = place / "srv"
    source.mkdir(exist_ok=True)
    (source / "app.py").write_text(block("python"))
    run = (
        f"exec chroot --userspec={USER}:{USER} --groups={USER} $R env -i HOME=/nonexistent"
        f" SESSION_SECRET={shlex.quote(SECRET)} SESSION_PATH=/data/sessions PYTHONPATH={ROOT}"
        " PYTHONDONTWRITEBYTECODE=1 sh -c 'cd /srv && exec \"$@\"' - "
        + shlex.join(command()).replace("'127.0.0.1:{port}'", "127.0.0.1:{port}")
    )
    return contained(place, {"/srv": source, "/data": volume}, run)


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
