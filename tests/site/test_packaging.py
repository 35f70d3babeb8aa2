"""What is published: the sdist and the wheel, and a program that uses the installed wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import litesess
from tests.tools.servers import ROOT

pytestmark = pytest.mark.slow

SOURCES = ["setup.cfg", "setup.py", "README.rst", "LICENSE", "litesess", "tests"]
JUNK = shutil.ignore_patterns("__pycache__", "*.py[co]", "*.egg-info", "data")


def run(*command: object, cwd: Path) -> str:
    """Run a program away from the tree; return what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def build(kind: str, source: Path, out: Path) -> Path:
    """Build one thing from *source*; return its file."""
    run(sys.executable, "-m", "build", "--no-isolation", kind, "--outdir", out, source, cwd=out)
    (built,) = out.glob("*.whl" if kind == "--wheel" else "*.tar.gz")
    return built


def wheel_files(wheel: Path) -> dict[str, bytes]:
    """Return the contents of a wheel by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the tree: building leaves things behind."""
    source = tmp_path_factory.mktemp("source") / "tree"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=JUNK)
        else:
            shutil.copy(ROOT / name, source / name)
    return source


@pytest.fixture(scope="module")
def sdist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("--sdist", source, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("--wheel", source, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path, source: Path) -> None:
    expected = {
        str(path.relative_to(source)): path.read_bytes()
        for path in (source / "litesess").rglob("*")
        if path.is_file()
    }
    files = wheel_files(wheel)
    assert "litesess/py.typed" in files
    assert {name: data for name, data in files.items() if ".dist-info/" not in name} == expected


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    files = wheel_files(wheel)
    assert wheel.name == f"litesess-{litesess.__version__}-py3-none-any.whl"
    info = f"litesess-{litesess.__version__}.dist-info"
    metadata = files[f"{info}/METADATA"].decode()
    assert f"\nVersion: {litesess.__version__}\n" in metadata
    assert "\nDescription-Content-Type: text/x-rst" in metadata
    assert (ROOT / "README.rst").read_text() in metadata
    needed = re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*$", metadata, re.MULTILINE)
    assert sorted(needed) == ["cryptography", "portalocker", "webob"]
    assert files[f"{info}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert b"litesess = litesess.cli:main" in files[f"{info}/entry_points.txt"]


def test_the_sdist_builds_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, **({"filter": "data"} if sys.version_info >= (3, 12) else {}))
    (unpacked,) = tmp_path.iterdir()
    assert unpacked.name == f"litesess-{litesess.__version__}"
    out = tmp_path / "out"
    out.mkdir()
    rebuilt = build("--wheel", unpacked, out)
    assert rebuilt.name == wheel.name
    assert wheel_files(rebuilt) == wheel_files(wheel)


USE = """
import os, sys, litesess
from importlib.resources import files
assert "site-packages" in litesess.__file__, litesess.__file__
assert files(litesess).joinpath("py.typed").is_file()

def app(environ, start_response):
    session = environ["litesess.session"]
    session["visits"] = session.get("visits", 0) + 1
    start_response("200 OK", [])
    return [str(session["visits"]).encode()]

def ask(cookie):
    sent = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_COOKIE": cookie}
    (body,) = app(environ, lambda status, headers, exc_info=None: sent.extend(headers))
    return body, dict(sent).get("Set-Cookie", cookie).partition(";")[0]

store = litesess.WALStore("data")
with litesess.SessionMiddleware(app, secret=os.urandom(32), store=store) as app:
    body, cookie = ask("")
    print(body, *ask(cookie)[:1])
"""


FRAMEWORKS = ("beaker", "bottle", "django", "flask", "paste", "pyramid", "redis", "webtest", "zope")
IMPORTED = """
import sys
before = {*sys.modules}
from litesess import *
print(*{name.partition(".")[0] for name in {*sys.modules} - before})
"""


def test_importing_litesess_imports_no_framework() -> None:
    # In a process that has them all; but portalocker imports redis where it finds it.
    imported = run(sys.executable, "-c", IMPORTED, cwd=Path.cwd()).split()
    assert {"litesess", "webob"} <= {*imported}
    assert {*imported} & {*FRAMEWORKS} <= {"redis"}


def test_the_installed_wheel_works_away_from_the_tree(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    binaries = tmp_path / "venv" / "bin"
    run(binaries / "pip", "install", "--quiet", wheel, cwd=tmp_path)
    assert run(binaries / "python", "-c", USE, cwd=tmp_path) == "b'1' b'2'\n"
    installed = run(binaries / "pip", "list", "--format=freeze", cwd=tmp_path).lower()
    assert not [name for name in FRAMEWORKS if re.search(rf"^{name}\b", installed, re.MULTILINE)]
    version = run(binaries / "litesess", "--version", cwd=tmp_path)
    assert version == f"litesess {litesess.__version__}\n"
    secrets = {run(binaries / "litesess", "secret", cwd=tmp_path) for _ in range(2)}
    assert len(secrets) == 2
    assert all(re.fullmatch(r"[0-9a-f]{64}\n", secret) for secret in secrets)
