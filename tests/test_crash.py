"""Power cuts and kills at every call that changes the disk, on a simulated one.

The oracle: what is there after the restart is what was there after some number of operations,
at least as many as had been acknowledged; and the store works on.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from engines import FAR, abandon, change, content, delete, key, make_engine, put, small_files, touch
from simdisk import SimDisk

from litesess.engine import format as form
from litesess.engine.db import Engine

NAMES = range(6)
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))]


class Workload:
    """Random operations, with what each state of the store should be."""

    def __init__(self, seed: int, steps: int) -> None:
        self.rng = random.Random(seed)
        self.steps = steps
        self.disk = SimDisk()
        self.engine = make_engine(self.disk, random_bytes=self.rng.randbytes)
        self.states: list[dict[bytes, tuple[bytes, float]]] = [{}]
        self.acknowledged = 0

    def run(self) -> None:
        for _ in range(self.steps):
            self.step()
        self.engine.close()

    def step(self) -> None:
        rng, now = self.rng, dict(self.states[-1])
        name = rng.choice(NAMES)
        kind = rng.choices(
            ["put", "put twice", "touch", "delete", "move", "clear", "compact", "reopen"],
            [12, 3, 3, 4, 3, 1, 2, 2],
        )[0]
        value = rng.randbytes(rng.choice([0, 20, 300, 1500]))
        if kind == "put":
            now[key(name)] = value, FAR
            self.do(now, lambda engine: put(engine, name, value))
        elif kind == "put twice":
            other = rng.choice(NAMES)
            now |= {key(name): (value, FAR), key(other): (b"!", FAR + 1)}
            changes = form.Put(key(name), value, FAR), form.Put(key(other), b"!", FAR + 1)
            self.do(now, lambda engine: change(engine, *changes))
        elif kind == "touch" and key(name) in now:
            now[key(name)] = now[key(name)][0], FAR + self.rng.randrange(100)
            self.do(now, lambda engine: touch(engine, name, now[key(name)][1]), is_synced=False)
        elif kind == "delete" and key(name) in now:
            del now[key(name)]
            self.do(now, lambda engine: delete(engine, name))
        elif kind == "move" and key(name) in now:
            other = rng.choice(NAMES)
            moved = now.pop(key(name))
            now[key(other)] = moved
            changes = form.Delete(key(name)), form.Put(key(other), *moved)
            self.do(now, lambda engine: change(engine, *changes))
        elif kind == "clear":
            self.do({}, lambda engine: change(engine, form.Clear()))
        elif kind == "compact":
            self.engine.compact()
        elif kind == "reopen":
            if rng.random() < 0.5:
                self.engine.close()
            else:
                abandon(self.engine)
            self.engine = make_engine(self.disk, random_bytes=self.rng.randbytes)

    def do(self, state: Any, operation: Any, *, is_synced: bool = True) -> None:
        self.states.append(state)
        operation(self.engine)
        if is_synced:
            self.acknowledged = len(self.states) - 1


def recovered(disk: SimDisk) -> tuple[Engine, dict[bytes, tuple[bytes, float]]]:
    engine = make_engine(disk)
    return engine, content(engine)


def check_goes_on(engine: Engine, found: dict[bytes, tuple[bytes, float]]) -> None:
    """What a restarted store acknowledges survives the next power cut."""
    disk = engine._fs
    assert isinstance(disk, SimDisk)
    put(engine, "after", b"restart")
    abandon(engine)
    left = SimDisk({name: inode.durable for name, inode in disk.durable_names.items()})
    _, again = recovered(left)
    assert again == found | {key("after"): (b"restart", FAR)}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_power_cut_at_any_call_loses_nothing_acknowledged(seed, monkeypatch):
    small_files(monkeypatch)
    work = Workload(seed, steps=60)
    counts = {"points": 0, "images": 0}

    def cut() -> None:
        counts["points"] += 1
        seen = set()
        for image in work.disk.crash_images(random.Random(counts["points"]), samples=2):
            digest = hash(tuple(sorted(image.items())))
            if digest in seen:
                continue
            seen.add(digest)
            counts["images"] += 1
            engine, found = recovered(SimDisk(image))
            assert found in work.states[work.acknowledged :], f"seed {seed} {counts}"
            if counts["images"] % 10 == 0:
                check_goes_on(engine, found)

    work.disk.watch = cut
    work.run()
    print(f"seed {seed}: {counts['points']} crash points, {counts['images']} images")
    assert counts["points"] > 100


@pytest.mark.parametrize("seed", SEEDS)
def test_a_power_cut_during_recovery_loses_nothing_either(seed, monkeypatch):
    small_files(monkeypatch)
    work = Workload(100 + seed, steps=60)
    counts = {"points": 0, "images": 0}

    def kill() -> None:
        # Every process is killed here; the next one recovers, and the power goes meanwhile.
        counts["points"] += 1
        if counts["points"] % 5:
            return
        disk = work.disk.twin()

        def cut() -> None:
            for image in disk.crash_images(random.Random(counts["images"]), samples=1):
                counts["images"] += 1
                _, found = recovered(SimDisk(image))
                assert found in work.states[work.acknowledged :], f"seed {seed} {counts}"

        disk.watch = cut
        recovered(disk)

    work.disk.watch = kill
    work.run()
    assert counts["images"] > 50


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_restarted_store_has_shown_survives_a_power_cut(seed, monkeypatch):
    small_files(monkeypatch)
    work = Workload(200 + seed, steps=60)
    chains = 0

    def kill_restart_and_cut() -> None:
        nonlocal chains
        chains += 1
        disk = work.disk.twin()
        _, shown = recovered(disk)
        for image in disk.crash_images(random.Random(chains), samples=1):
            _, found = recovered(SimDisk(image))
            assert found == shown, f"seed {seed} chain {chains}"

    work.disk.watch = kill_restart_and_cut
    work.run()
    assert chains > 100
