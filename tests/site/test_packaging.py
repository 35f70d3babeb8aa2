"""What is published: the sdist and the wheel, and a program that uses the installed wheel."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import litesess
from tests.tools.packages import build, copy_of_the_tree, run
from tests.tools.servers import ROOT

pytestmark = pytest.mark.slow


def wheel_files(wheel: Path) -> dict[str, bytes]:
    """Return the contents of a wheel by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_the_tree(tmp_path_factory.mktemp("source") / "tree")


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


@pytest.fixture(scope="module")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the sdist holds."""
    place = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(place, **({"filter": "data"} if sys.version_info >= (3, 12) else {}))
    (unpacked,) = place.iterdir()
    return unpacked


def test_the_sdist_builds_the_same_wheel(unpacked: Path, wheel: Path, tmp_path: Path) -> None:
    assert unpacked.name == f"litesess-{litesess.__version__}"
    rebuilt = build("--wheel", unpacked, tmp_path)
    assert rebuilt.name == wheel.name
    assert wheel_files(rebuilt) == wheel_files(wheel)


def test_the_wheel_is_the_same_bytes_whenever_it_is_built(source: Path, tmp_path: Path) -> None:
    """Source: reproducible-builds.org, "SOURCE_DATE_EPOCH"."""
    built = []
    for number in range(2):
        tree, out = tmp_path / f"tree{number}", tmp_path / f"out{number}"
        shutil.copytree(source, tree)
        for path in tree.rglob("*"):
            os.utime(path, (1_700_000_000 + number, 1_700_000_000 + number))
        out.mkdir()
        built.append(build("--wheel", tree, out, SOURCE_DATE_EPOCH="1700000000").read_bytes())
    assert built[0] == built[1]


@pytest.mark.long
def test_the_tests_in_the_sdist_are_all_collected_and_run(unpacked: Path) -> None:
    pytest_in = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    collected = run(*pytest_in, "--collect-only", "-m", "", cwd=unpacked)
    files = {line.partition("::")[0] for line in collected.splitlines() if "::" in line}
    assert files == {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")}
    run(
        *pytest_in, "tests/test_codec.py", "tests/site/test_docs.py", "-m", "not slow", cwd=unpacked
    )


def test_what_checks_packages_finds_nothing(sdist: Path, wheel: Path) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel, cwd=ROOT)
    # The whole configuration is in setup.cfg; there is no address to write to yet.
    skipped = "MissingPyProjectToml,MissingBuildSystem,AuthorEmail"
    said = run(sys.executable, "-m", "pyroma", f"--skip-tests={skipped}", sdist, cwd=ROOT)
    assert "Final rating: 10/10" in said


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a checkout's: this is none")
def test_the_sdist_holds_all_that_is_under_version_control() -> None:
    run(sys.executable, "-m", "check_manifest", "--no-build-isolation", ROOT, cwd=ROOT)


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
