"""What mypy and pyright say of programs that use litesess: from a wheel, and from a checkout."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from litesess.beaker.keywords import BeakerKeywords
from litesess.options import Options
from litesess.stores.keywords import MemoryKeywords, RedisKeywords, WALKeywords
from litesess.stores.memory import MemoryOptions
from litesess.stores.redis.store import RedisOptions
from litesess.stores.wal import WALOptions
from litesess.web import CookieSettings, ManagerOptions
from litesess.web.cookie.keywords import CookieKeywords
from litesess.web.keywords import MiddlewareKeywords
from tests.tools.packages import build, copy_of_the_tree, run

USES = Path(__file__).parent / "typed" / "uses.py"
WRONG = re.compile(r"# wrong: (\S+) \| (\S+)$")

DECLARED = [
    (MemoryOptions, MemoryKeywords),
    (WALOptions, WALKeywords),
    (RedisOptions, RedisKeywords),
    (CookieSettings, CookieKeywords),
    (ManagerOptions, MiddlewareKeywords),
]


@pytest.mark.parametrize(("options", "keywords"), DECLARED)
def test_each_option_is_a_keyword_that_type_checkers_know(
    options: type[Options], keywords: type
) -> None:
    declared = {item.name: item for item in dataclasses.fields(options)}
    assert set(keywords.__annotations__) == set(declared)
    required = {name for name, item in declared.items() if item.default is dataclasses.MISSING}
    assert set(keywords.__required_keys__) == required  # type: ignore[attr-defined]


def test_from_beaker_takes_the_keywords_of_middleware_and_store() -> None:
    expected = {*MiddlewareKeywords.__annotations__, *WALKeywords.__annotations__} - {"store"}
    assert set(BeakerKeywords.__annotations__) == expected


@pytest.mark.parametrize(("options", "keywords"), DECLARED)
def test_each_keyword_is_used_rightly_and_wrongly_in_the_program_that_is_checked(
    options: type[Options], keywords: type
) -> None:
    lines = USES.read_text().splitlines()
    for name in keywords.__annotations__:
        used = [line for line in lines if re.search(rf"\b{name}=", line)]
        assert any(WRONG.search(line) for line in used), name


def expected(column: int) -> set[tuple[int, str]]:
    """Return the rule that each wrong line breaks: 0: mypy's, 1: pyright's."""
    found = set[tuple[int, str]]()
    for number, line in enumerate(USES.read_text().splitlines(), 1):
        wrong = WRONG.search(line)
        if wrong:
            found.add((number, wrong.groups()[column]))
    assert len(found) > 60
    return found


def said_by_mypy(python: Path, program: Path) -> set[tuple[int, str]]:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--output=json"]
    command += ["--cache-dir", str(program.parent / "cache"), "--python-executable", str(python)]
    done = subprocess.run(
        [*command, program.name], cwd=program.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    return {
        (said["line"], said["code"])
        for said in map(json.loads, done.stdout.splitlines())
        if said["severity"] == "error"
    }


def said_by_pyright(python: Path, program: Path) -> set[tuple[int, str]]:
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", str(python)]
    done = subprocess.run(
        [*command, program.name], cwd=program.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return {
        (said["range"]["start"]["line"] + 1, said["rule"])
        for said in json.loads(done.stdout)["generalDiagnostics"]
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", pytest.param("editable", marks=pytest.mark.long)])
def test_type_checkers_refuse_what_is_wrong_and_nothing_else(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("pyright")
    source = copy_of_the_tree(tmp_path / "tree")
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    # Other packages are those of the tests; litesess itself is not to be found there.
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    if kind == "wheel":
        run(*pip, "--force-reinstall", build("--wheel", source, tmp_path), cwd=tmp_path)
    else:
        run(*pip, "--no-build-isolation", "--editable", source, cwd=tmp_path)
    program = tmp_path / "user" / USES.name
    program.parent.mkdir()
    program.write_bytes(USES.read_bytes())
    found = run(python, "-c", "import litesess; print(litesess.__file__)", cwd=program.parent)
    assert found.startswith(str(source if kind == "editable" else site))
    assert said_by_mypy(python, program) == expected(0)
    assert said_by_pyright(python, program) == expected(1)
