"""A plugin for pytest: litesess runs as on a system that lacks some functions of Python.

::

    LITESESS_TESTS_AS=windows python -m pytest -p tests.tools.elsewhere tests/web
    LITESESS_TESTS_AS=macos python -m pytest -p tests.tools.elsewhere tests/engine

Only litesess sees that system; pytest and the other packages see the real one.  Functions that
exist there but behave differently are not tried.

Source: the availability that the documents of ``os`` and ``fcntl`` name for each function.
"""

from __future__ import annotations

import importlib
import io
import os
import pkgutil
import sys
from collections.abc import Callable, Generator
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

import pytest

LINUX_ALONE: Final = frozenset({
    "O_DIRECT", "O_NOATIME", "O_PATH", "O_TMPFILE", "RWF_DSYNC", "copy_file_range", "fdatasync",
    "memfd_create", "posix_fadvise", "posix_fallocate", "sched_getaffinity", "sched_yield",
    "splice",
})  # fmt: skip
POSIX_ALONE: Final = frozenset({
    "O_CLOEXEC", "O_DIRECTORY", "O_DSYNC", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "WNOHANG", "chown",
    "fchdir", "fchmod", "fchown", "fork", "getegid", "geteuid", "getgid", "getgroups", "getuid",
    "lchown", "mkfifo", "pread", "preadv", "pwrite", "pwritev", "register_at_fork", "setgroups",
    "setresgid", "setresuid", "setsid", "setuid", "statvfs", "sync", "sysconf", "wait4",
})  # fmt: skip
MODULES: Final = ("fcntl", "grp", "pwd", "resource", "termios", "tty")
AS: Final = os.environ["LITESESS_TESTS_AS"]
#: Tests that need these are left out: no app imports them on such a system.
_COMMANDS: Final = (
    "litesess.__main__", "litesess.beaker.command", "litesess.beaker.files", "litesess.cli",
    "litesess.engine.", "litesess.flask_session.command", "litesess.flask_session.files",
    "litesess.integrations.django.management",
    "litesess.integrations.flask.operator", "litesess.moving.files", "litesess.moving.importing",
)  # fmt: skip
NOT_THERE: Final = _COMMANDS if AS == "windows" else ()


class Os(ModuleType):
    """The module ``os`` as that system has it; it shows a test's changes of the real one."""

    hidden = LINUX_ALONE | (POSIX_ALONE if AS == "windows" else frozenset())

    def __getattr__(self, name: str) -> Any:
        if name in self.hidden:
            raise AttributeError(f"module 'os' has no attribute {name!r}")
        return getattr(os, name)


def without_proc(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return *call*, which does not find ``/proc`` if litesess calls it."""

    def found(path: Any, *arguments: Any, **keywords: Any) -> Any:
        if isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith("/proc"):
            frame = sys._getframe(1)
            for _ in range(4):
                caller = "" if frame is None else frame.f_globals.get("__name__", "")
                if caller.startswith("litesess"):
                    raise FileNotFoundError(2, "No such file or directory", os.fspath(path))
                if frame is None or caller.startswith("tests"):
                    break
                frame = frame.f_back
        return call(path, *arguments, **keywords)

    return found


def import_all() -> None:
    """Import every module of litesess that such a system can use."""
    hidden = MODULES if AS == "windows" else ()
    real = {name: importlib.import_module(name) for name in hidden}
    sys.modules |= dict.fromkeys(hidden)  # type: ignore[dict-item]
    sys.modules["os"] = Os("os")
    try:
        import litesess  # noqa: PLC0415  # that is the point

        for module in pkgutil.walk_packages(litesess.__path__, "litesess.", lambda _name: None):
            if not module.name.startswith(NOT_THERE):
                importlib.import_module(module.name)
    finally:
        sys.modules["os"] = os
        # The tests' own helpers need them, and the engine.
        sys.modules |= real
    if AS == "windows":
        from litesess.stores import wal  # noqa: PLC0415  # it is there by now

        wal.find_spec = lambda name: None if name in MODULES else find_spec(name)


# The other packages import the real functions before litesess is imported.
for _name in (
    "asyncio", "beaker.session", "bottle", "concurrent.futures.process", "flask", "flask.testing",
    "flask_session",
    "freezegun", "getpass", "logging.handlers", "multiprocessing.connection", "paste.deploy",
    "portalocker.portalocker", "prometheus_client", "pyramid.config", "redis", "redis.cluster",
    "redis.sentinel", "rich.console", "rich.progress", "shtab", "subprocess", "time_machine",
    "webtest", "xdist.remote",
):  # fmt: skip
    try:
        importlib.import_module(_name)
    except ImportError:
        continue
io.open = without_proc(io.open)  # type: ignore[assignment]
for _name in ("open", "readlink", "stat"):
    setattr(os, _name, without_proc(getattr(os, _name)))
import_all()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Skip tests that need a store on a disk, on a system that can't have one."""
    report = yield
    said = str(call.excinfo.value) if call.excinfo is not None else ""
    if AS == "windows" and report.failed and "WALStore needs POSIX" in said:
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1] or 0, said)
    return report
