"""What is imported when, and where litesess can be imported at all."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from tests.tools.servers import ROOT

#: A request that stores a session, by an app without encryption.
SERVE = """
from litesess import MemoryStore, SessionMiddleware, WALStore
def app(environ, start_response):
    environ["litesess.session"]["user"] = "ada"
    start_response("200 OK", [])
    return [b""]
def serve(store):
    with SessionMiddleware(app, secret="c2f1e7a09b5d48366e1d7c40fa92b853", store=store) as served:
        served({"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SCRIPT_NAME": ""}, lambda *_: None)
        assert len(store)
"""
IMPORTED = (
    "import sys; print(*sorted(name for name in sys.modules if name.partition('.')[0] in %r))"
)


def run(code, *arguments, options=(), **environment):
    """Run Python code in a process of its own; return what it printed."""
    done = subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def imported(code, *packages):
    """Return which modules of *packages* a process has after *code*."""
    return run(f"{code}\n{IMPORTED % (packages,)}").split()


def test_the_package_alone_imports_nothing_but_its_errors():
    assert imported("import litesess", "litesess", "webob", "logging") == [
        "litesess",
        "litesess.errors",
        "litesess.lazy",
    ]


def test_each_public_name_is_there_when_it_is_asked_for():
    run("""
        import litesess, litesess.engine, litesess.testing
        for package in litesess, litesess.engine, litesess.testing:
            assert {*package.__all__} <= {*dir(package)} or package is not litesess
            for name in package.__all__:
                assert getattr(package, name) is getattr(package, name), name
            assert not hasattr(package, "bogus")
        from litesess import *
        assert WALStore is litesess.WALStore
    """)


def test_a_store_in_memory_imports_no_engine_that_needs_files():
    # Not fcntl itself: from Python 3.14 on, pathlib imports that.
    others = "litesess.engine.fs", "portalocker", "cryptography", "redis"
    assert imported(SERVE + "serve(MemoryStore())", *others) == []


def test_only_an_encrypted_store_imports_cryptography(tmp_path):
    plain = SERVE + f"serve(WALStore({str(tmp_path / 'a')!r}))"
    # portalocker imports redis where it finds it, and that looks whether there is a cryptography.
    assert "cryptography.hazmat" not in imported(plain, "cryptography")
    assert "portalocker" in imported(plain, "portalocker")
    key = "encryption_key='correct horse battery'"
    encrypted = SERVE + f"serve(WALStore({str(tmp_path / 'b')!r}, {key}))"
    assert "cryptography.hazmat" in imported(encrypted, "cryptography")


def test_the_plugin_for_pytest_imports_nothing_until_a_fixture_is_used():
    """pyrollbar#439: where warnings are errors, WebOb's import of cgi kept pytest from starting."""
    found = imported("import litesess.testing.plugin", "litesess", "webob", "cgi")
    assert found == [
        "litesess", "litesess.errors", "litesess.lazy", "litesess.testing",
        "litesess.testing.plugin",
    ]  # fmt: skip


def test_pytest_starts_where_warnings_are_errors(tmp_path):
    (tmp_path / "test_it.py").write_text("def test_it(): pass\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    # A project that has litesess installed; the other plugins' warnings are not ours.
    done = subprocess.run(
        [*command, "-p", "litesess.testing.plugin"],
        cwd=tmp_path,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="CPython 3.12 itself ends badly then")
def test_an_app_without_encryption_runs_in_a_sub_interpreter(tmp_path):
    """mod_wsgi#940, PyO3#1028: cryptography's core can't be loaded there a second time."""
    code = f"import sys; sys.path[:0] = {sys.path!r}\n{SERVE}serve(WALStore({str(tmp_path)!r}))"
    run(f"""
        import _xxsubinterpreters as interpreters
        import cryptography.hazmat.bindings._rust  # as another app of the process has it
        interpreters.run_string(interpreters.create(), {code!r})
    """)


READ_ONLY = """
for each in /tmp /var/tmp /usr/tmp; do
    [ -d $each ] && mount --bind $each $each && mount -o remount,bind,ro $each
done
mount -t tmpfs tmpfs /mnt && cd /proc && exec "$@"
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0,
    reason="only root may mount",
)
def test_a_container_without_a_temporary_directory_can_open_a_store():
    """deepeval#2288: portalocker looks for one when it is imported."""
    code = f"""{SERVE}
import tempfile
try:
    tempfile.gettempdir()
except FileNotFoundError:
    serve(WALStore("/mnt/data"))
    assert tempfile.tempdir is None
    print("served")
"""
    command = ["unshare", "-m", "sh", "-c", READ_ONLY, "sh", sys.executable, "-c", code]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("TMPDIR", None)
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "served\n", done.stderr


def test_on_windows_all_but_the_store_on_disk_can_be_used():
    """The names that Windows lacks are taken away; its own behaviour was never tried."""
    run(f"""
        import asyncio, logging.handlers, os, pathlib, ssl, sys, tempfile, threading, webob.cookies
        sys.modules["fcntl"] = sys.modules["pwd"] = sys.modules["grp"] = None
        for name in (
            "O_NOFOLLOW", "O_CLOEXEC", "O_DIRECTORY", "O_NONBLOCK", "pread", "pwrite", "geteuid",
            "fork", "register_at_fork", "fdatasync", "sched_yield", "fchmod",
        ):
            delattr(os, name)
        {textwrap.indent(SERVE, " " * 8).strip()}
        serve(MemoryStore())
        from litesess.stores.fallback import FallbackStore
        from litesess.stores.redis import RedisStore
        try:
            WALStore("data")
        except Exception as error:
            assert type(error).__name__ == "ConfigError", error
            assert "WALStore needs POSIX" in str(error)
        else:
            raise AssertionError
    """)
