"""A store's numbers, and what Prometheus makes of them."""

from __future__ import annotations

import sys
from dataclasses import fields

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from litesess import ConfigError, Record, WALStore, metrics
from litesess.ids import key_of
from litesess.stores.stats import Stats
from tests.tools.apps import Site, WatchedWALStore, write


@pytest.fixture
def store(tmp_path, clock):
    with WatchedWALStore(tmp_path / "data", clock=clock) as store:
        yield store


def parsed(store):
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(metrics.text(store))
        for sample in family.samples
    }


def test_sessions_and_bytes_are_counted(store, clock):
    for number in range(5):
        store.create(key_of(str(number)), Record({"a": "x" * 100}, clock(), clock() + number + 1))
    clock.advance(2)
    found = store.stats()
    assert (found.live, found.expired) == (3, 2)
    assert found.log_bytes > 500
    assert (found.snapshot_bytes, found.generation, found.compactions) == (0, 1, 0)
    assert (found.compacted_at, found.compaction_seconds) == (None, None)
    store.compact()
    found = store.stats()
    assert (found.live, found.expired, found.generation, found.compactions) == (3, 0, 2, 1)
    assert found.snapshot_bytes > 300
    assert found.compacted_at == clock()
    assert found.compaction_seconds > 0
    assert not found.is_poisoned


def test_commits_and_syncs_are_counted(store, clock):
    before = store.stats()
    for number in range(4):
        store.create(key_of(str(number)), Record({}, clock(), clock() + 100))
    store.touch(key_of("1"), clock() + 200)
    store.load(key_of("2"))
    after = store.stats()
    assert after.commits - before.commits == 5
    assert after.fsyncs - before.fsyncs == 4


def test_merges_and_late_writes_are_counted(store, clock):
    site = Site(store, clock=clock)
    site.visit(write(a=1))

    def overlap(session):
        dict(session)
        site.visit(write(b=2), by=site.new_tab())
        session["c"] = 3

    site.visit(overlap)
    site.visit(write(d=4))
    assert (store.stats().merges, store.stats().discarded) == (1, 0)

    def late(session):
        dict(session)
        site.visit(lambda s: s.destroy(), by=site.new_tab())
        session["e"] = 5

    site.visit(late)
    assert (store.stats().merges, store.stats().discarded) == (1, 1)


def test_the_numbers_of_a_store_opened_for_reading_are_the_same(store, clock):
    store.create(key_of("a"), Record({}, clock(), clock() + 100))
    with WALStore(store.path, clock=clock, read_only=True) as other:
        found = other.stats()
    assert (found.live, found.log_bytes) == (1, store.stats().log_bytes)


def test_prometheus_reads_the_same_numbers(store, clock):
    store.create(key_of("a"), Record({}, clock(), clock() + 100))
    store.compact()
    found, numbers = store.stats(), parsed(store)
    assert numbers["litesess_sessions"] == 1
    assert numbers["litesess_commits_total"] == found.commits
    assert numbers["litesess_snapshot_bytes"] == found.snapshot_bytes
    assert numbers["litesess_poisoned"] == 0
    assert numbers["litesess_compacted_timestamp_seconds"] == clock()


def test_every_number_is_exposed(store, clock):
    store.create(key_of("a"), Record({}, clock(), clock() + 100))
    store.compact()
    assert len(parsed(store)) == len(fields(Stats))


def test_what_is_not_known_is_left_out(store):
    assert "litesess_compacted_timestamp_seconds" not in parsed(store)


def test_several_stores_are_told_apart_by_a_label(store, tmp_path):
    assert 'litesess_sessions{store="carts"} 0.0' in metrics.text(store, "carts")


def test_without_prometheus_client_the_extra_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "litesess.metrics")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigError, match=r"install litesess\[metrics\]"):
        __import__("litesess.metrics")
