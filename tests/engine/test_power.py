"""The power cut on real file systems: the medium under a mounted one is cloned while it is used.

What a loop device wrote to its file is what a disk had got; a clone of that file (btrfs shares
the blocks) is the disk at one moment.  What lay in the page cache alone is not in it.
"""

from __future__ import annotations

import fcntl
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.counters import COUNTERS, Writer, stored_counters
from tests.tools.disks import make_image, mounted, need_root_and

pytestmark = pytest.mark.slow

#: LITESESS_POWER_CUTS sets how often the power is cut (docs/testing.rst).
CUTS = int(os.environ.get("LITESESS_POWER_CUTS", "15"))
_FICLONE = 0x40049409  # linux/fs.h


@pytest.fixture
def disks(tmp_path) -> Iterator[Path]:
    """A directory whose files can be cloned."""
    need_root_and("mkfs.btrfs", "mkfs.ext4", "mount")
    image = make_image(tmp_path / "disks", 1 << 30, "mkfs.btrfs", "-q")
    with mounted(tmp_path / "clonable", "-o", "loop", image) as where:
        yield where


def clone(source: Path, target: Path) -> None:
    with source.open("rb") as one, target.open("wb") as other:
        fcntl.ioctl(other, _FICLONE, one.fileno())


def lost_to_power_cuts(disks: Path, scratch: Path, *, sync: bool) -> tuple[int, int]:
    """Cut the power again and again; return how many writes were acknowledged, and lost."""
    rng = random.Random(5)
    disk = make_image(disks / "disk", 64 << 20, "mkfs.ext4", "-q")
    lost = 0
    with mounted(scratch / "disk", "-o", "loop", disk) as where:
        writer = Writer(str(where / "data"), (0, 3000), 1, sync=sync)
        try:
            for cut in range(CUTS):
                writer.wait()
                time.sleep(rng.uniform(0.02, 0.2))
                writer.listen()
                acknowledged = list(writer.acknowledged)
                image = disks / f"cut-{cut}"
                clone(disk, image)
                with mounted(scratch / "cut", "-o", "loop", image) as left:
                    found = stored_counters(str(left / "data"))
                image.unlink()
                lost += sum(
                    max(0, one - other) for one, other in zip(acknowledged, found, strict=True)
                )
            while min(writer.acknowledged) == 0:  # on a slow disk
                writer.wait()
        finally:
            status = writer.kill(signal.SIGKILL)
        assert os.WIFSIGNALED(status), "the writer failed by itself"
    assert min(writer.acknowledged) > 0, f"{COUNTERS} counters are counted"
    return sum(writer.acknowledged), lost


def test_no_acknowledged_write_is_lost_to_a_power_cut(disks, tmp_path):
    acknowledged, lost = lost_to_power_cuts(disks, tmp_path, sync=True)
    print(f"{CUTS} power cuts, {acknowledged} acknowledged writes, {lost} lost")
    assert lost == 0


def test_writes_that_are_not_synced_are_lost_to_a_power_cut(disks, tmp_path):
    """Otherwise the test above could not fail."""
    _, lost = lost_to_power_cuts(disks, tmp_path, sync=False)
    assert lost > 0
