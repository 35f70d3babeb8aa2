"""Threads in the background."""

from __future__ import annotations

import threading

import pytest

from litesess import threads
from tests.tools.engines import make_engine, put


def refuse(*_arguments, **_options):
    raise RuntimeError("daemon threads are disabled in this (sub)interpreter")


@pytest.fixture(params=["__init__", "start"])
def alone(monkeypatch, request):
    """An interpreter that can have no threads in the background."""
    monkeypatch.setattr(threading.Thread, request.param, refuse)


def test_a_thread_works_and_does_not_keep_the_process_alive():
    done = []
    thread = threads.begin("litesess-test", done.append, 1)
    assert thread is not None
    thread.join()
    assert done == [1]
    assert (thread.daemon, thread.name) == (True, "litesess-test")


@pytest.mark.usefixtures("alone")
def test_where_there_can_be_no_thread_none_is_begun():
    assert threads.begin("litesess-test", print) is None


@pytest.mark.usefixtures("alone")
def test_a_store_works_where_there_can_be_no_thread(tmp_path):
    engine = make_engine(path=tmp_path / "data", wal_limit=1 << 16)
    for number in range(40):
        put(engine, 1, bytes(20_000) + b"%d" % number)
    assert engine.stats().compactions > 0  # by the writer
    engine.close()
