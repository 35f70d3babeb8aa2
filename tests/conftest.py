"""Fixtures that several modules share."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from litesess.cli import main
from litesess.crypto import EncryptionKey
from litesess.testing import FakeClock
from tests.tools import engines
from tests.tools.apps import Watched, WatchedMemoryStore, WatchedWALStore
from tests.tools.commands import Outcome, Run
from tests.tools.engines import seed_salts
from tests.tools.redises import (
    WatchedRedisStore,
    cluster_url,
    needs_redis,
    redis_cluster,
    redis_server,
)

#: A quick test that takes more CPU seconds, its children's included, is named after the run.
QUICK_SECONDS = 3.0
CPU = "cpu_seconds"
started_at = pytest.StashKey[float]()

# No example is too slow on a machine that other work shares.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def cpu_seconds() -> float:
    """Return the CPU seconds that this process and its ended children have taken."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("long") is not None:
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[started_at] = cpu_seconds()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "teardown":
        # Among the properties, since those also come from the processes of pytest-xdist.
        report.user_properties.append((CPU, cpu_seconds() - item.stash[started_at]))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tests that are too slow to be unmarked; CPU time does not depend on neighbours."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    for report in reports:
        seconds = dict(getattr(report, "user_properties", ())).get(CPU, 0.0)
        if seconds > QUICK_SECONDS and "slow" not in report.keywords:
            terminalreporter.write_line(
                f"{report.nodeid} took {seconds:.1f} s of CPU: mark it slow, or make it cheaper",
                yellow=True,
            )


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """Let Ctrl-C end the processes of the tests, also where a shell runs them in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _programs_are_not_measured() -> None:
    """Let coverage measure no program that a test starts: some run as users that can't write."""
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


@pytest.fixture(autouse=True)
def _same_salts_each_time() -> None:
    seed_salts()


@pytest.fixture
def encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every engine of the test be encrypted, by 32 bytes: a passphrase takes 0.15 s."""
    monkeypatch.setattr(engines, "encryption_key", EncryptionKey(bytes(range(32))))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server for all tests that leave it as it is; each has a prefix of its own."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(scope="session")
def redis_cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster for all tests that leave it as it is."""
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        yield cluster_url(nodes)


@pytest.fixture(
    params=[
        "memory",
        "wal",
        *(
            pytest.param(url, marks=[pytest.mark.slow, needs_redis])
            for url in ("redis_url", "redis_cluster_url")
        ),
    ]
)
def each_store(
    request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path
) -> Iterator[Watched]:
    """A store of each kind, that can be watched."""
    if request.param == "memory":
        yield WatchedMemoryStore(clock=clock)
    elif request.param == "wal":
        with WatchedWALStore(tmp_path / "data", clock=clock) as store:
            yield store
    else:
        url = request.getfixturevalue(request.param)
        with WatchedRedisStore(url, prefix=f"{tmp_path}:", clock=clock) as store:
            yield store


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command in this process."""
    for name in ("LITESESS_ENCRYPTION_KEY", "LITESESS_NEW_ENCRYPTION_KEY", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        return Outcome(code, *capsys.readouterr())

    return run
