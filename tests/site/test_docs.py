"""What the documents say is so: examples run, tables agree with the code, pages are well-formed."""

from __future__ import annotations

import doctest
import inspect
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from docutils import nodes
from docutils.core import publish_doctree
from webtest import TestApp as Browser

import litesess
from litesess.options import rows
from litesess.stores import MemoryStore
from litesess.stores.wal import WALOptions
from litesess.testing import FakeClock
from litesess.web import ManagerOptions
from litesess.web.cookie import CookieSettings
from tests.tools.servers import LOGIN, PATIENCE, ROOT, SECRET, Server

README = ROOT / "README.rst"
PAGES = [README, ROOT / "CHANGES.rst", *sorted((ROOT / "docs").glob("*.rst"))]
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


#: What Sphinx alone knows, with the lines that belong to it: tests/site/test_pages.py.
SPHINX = re.compile(r"^\.\. (?:toctree|auto\w+|include)::.*\n(?:(?: +.*)?\n)*", re.MULTILINE)


def parse(text: str) -> nodes.document:
    """Return the document tree of a page; any doubt about it is an error."""
    settings = {
        "halt_level": 2,
        "report_level": 5,
        "raw_enabled": False,  # as on the package index
        "file_insertion_enabled": False,
        "syntax_highlight": "none",
    }
    return publish_doctree(SPHINX.sub("", text), settings_overrides=settings)


def literal_blocks(text: str, language: str = "") -> list[str]:
    """Return the literal blocks of a page; with a language, only those of that language."""
    return [
        block.astext()
        for block in parse(text).findall(nodes.literal_block)
        if not language or language in block["classes"]
    ]


def words(node: nodes.Node) -> str:
    """Return a node's text, however its lines are broken."""
    return " ".join(node.astext().split())


def table_after(beginning: str, page: Path = README) -> list[tuple[str, ...]]:
    """Return a page's table that follows the paragraph which begins like this."""
    tree = parse(page.read_text())
    (paragraph,) = (
        node for node in tree.findall(nodes.paragraph) if words(node).startswith(beginning)
    )
    table = paragraph.next_node(nodes.table, descend=False, ascend=True)
    return [tuple(map(words, row.children)) for row in table.findall(nodes.row)]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty directory, with the secrets that the examples ask for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SESSION_SECRET", SECRET)
    monkeypatch.setenv("SESSION_ENCRYPTION_KEY", "a passphrase of the tests")
    return tmp_path


@pytest.fixture
def run_readme(elsewhere: Path) -> Iterator[Callable[[], list[Any]]]:
    """Return a function that runs the README's Python and returns the app of each block."""
    with ExitStack() as apps:

        def run() -> list[Any]:
            apps.close()  # as if the server was started again
            namespace: dict[str, Any] = {"__name__": "readme"}
            made = []
            for block in literal_blocks(README.read_text(), "python"):
                exec(compile(block, str(README), "exec"), namespace)
                apps.callback(namespace["litesess"].close)
                made.append(namespace["app"])
            return made

        yield run


@EVERY_PAGE
def test_the_page_is_well_formed(page: Path) -> None:
    parse(page.read_text())


@EVERY_PAGE
def test_the_page_says_nothing_of_this_machine(page: Path) -> None:
    text = page.read_text()
    for path in {str(ROOT), str(Path.home()), "/home/", "/Users/"} - {"/"}:
        assert path not in text
    # A host may be named after a word that pages use.
    assert socket.gethostname().isalpha() or socket.gethostname() not in text


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_the_examples_of_the_page_run(
    page: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not doctest.testfile(str(page), module_relative=False).failed
    module = ModuleType(f"page_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # Pyramid asks who calls it
    for block in literal_blocks(page.read_text(), "python"):
        if ">>>" not in block:
            exec(compile(block, str(page), "exec"), vars(module))


@pytest.fixture
def page_of_tests() -> dict[str, Any]:
    """Return the names that the page about testing defines."""
    page = ROOT / "docs" / "webtest.rst"
    names: dict[str, Any] = {"__name__": "page_of_tests"}
    for block in literal_blocks(page.read_text(), "python"):
        exec(compile(block, str(page), "exec"), names)
    return names


def test_the_test_for_pytest_passes(
    page_of_tests: dict[str, Any], litesess_store: MemoryStore, litesess_clock: FakeClock
) -> None:
    page_of_tests["test_a_session_ends_after_a_day"](litesess_store, litesess_clock)


class TestReadme:
    def test_the_first_app_counts_visits_and_remembers_them(
        self, run_readme: Callable[[], list[Any]]
    ) -> None:
        (app,) = run_readme()
        browser = Browser(app)
        assert [browser.get("/").text for _ in range(2)] == ["visit 1\n", "visit 2\n"]
        assert Browser(app).get("/").text == "visit 1\n"
        (again,) = run_readme()
        assert Browser(again, cookiejar=browser.cookiejar).get("/").text == "visit 3\n"

    def test_the_names_that_express_users_are_given_exist(self) -> None:
        page = ROOT / "docs" / "express.rst"
        known = {
            "environ",
            "path",
            *(name for name, *_ in [*rows(ManagerOptions), *rows(CookieSettings)]),
            *(name for name, *_ in rows(WALOptions)),
        }
        for beginning in ("The ideas", "First the methods"):
            for there, here, _note in table_after(beginning, page)[1:]:
                for name in re.findall(r"[^\s,]+", here):
                    owner = litesess.Session if name.startswith("session.") else litesess.Store
                    word = re.sub(r"\W.*", "", name.removeprefix("session."))
                    assert word in known or hasattr(owner, word), f"{there}: {name}"

    def test_the_files_on_the_disk_are_those_that_are_listed(self, tmp_path: Path) -> None:
        (block,) = (text for text in literal_blocks(README.read_text()) if ".snapshot" in text)
        listed = dict(re.findall(r"(\S+) +(0[67]00)", block))
        data = tmp_path / "data"
        with litesess.WALStore(data) as store:
            store.clear()
            store.compact()
            on_disk = {f"{data.name}/": data, **{path.name: path for path in data.iterdir()}}
            assert listed == {
                name: f"{path.stat().st_mode & 0o7777:04o}" for name, path in on_disk.items()
            }

    @pytest.mark.slow
    def test_the_walk_with_curl_answers_as_printed(self, tmp_path: Path) -> None:
        if shutil.which("curl") is None:
            pytest.skip("needs curl, with which the README walks: apt install curl")
        (walk,) = (text for text in literal_blocks(README.read_text()) if "$ curl" in text)
        environment = {"EXAMPLE_DATA": str(tmp_path / "data")}
        with Server(LOGIN, tmp_path, environment) as server:
            commands = walk.replace("http://127.0.0.1:8000", server.url)
            answers = [self.answer_of(line[2:], tmp_path) for line in self.commands_in(commands)]
        expected = [line for line in walk.splitlines() if not line.startswith("$ ")]
        handle = re.compile(r"[0-9a-f]{16}")
        assert [handle.sub("#", answer) for answer in answers] == [
            handle.sub("#", line) for line in expected
        ]
        assert answers[0] == answers[1]

    @staticmethod
    def commands_in(walk: str) -> list[str]:
        return [line for line in walk.splitlines() if line.startswith("$ ")]

    @staticmethod
    def answer_of(command: str, directory: Path) -> str:
        environment = {
            name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
        }
        done = subprocess.run(
            command,
            shell=True,
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        return done.stdout.rstrip("\n")


class TestNames:
    @pytest.mark.parametrize("name", [name for name in litesess.__all__ if name[0] != "_"])
    def test_every_public_name_has_a_docstring(self, name: str) -> None:
        public = getattr(litesess, name)
        assert (public.__doc__ or "").strip()
        for member, value in inspect.getmembers(public):
            is_ours = str(getattr(value, "__module__", "")).startswith("litesess")
            if is_ours and callable(value) and not member.startswith("_"):
                assert inspect.getdoc(value), f"{name}.{member}"

    def test_no_public_name_is_missing_or_out_of_order(self) -> None:
        assert all(hasattr(litesess, name) for name in litesess.__all__)
        assert sorted(litesess.__all__) == litesess.__all__


def test_the_map_names_every_module() -> None:
    page = (ROOT / "docs" / "map.rst").read_text()
    words = set(re.findall(r"\w+", page))
    package = ROOT / "litesess"
    # A module of the commands is named by its command, one of a framework by the framework.
    unnamed = {"commands", "flask", "flask_session", "django", "redis", "contract", "beaker", "cli"}
    modules = {
        path.stem
        for path in package.rglob("*.py")
        if path.parent.name not in unnamed and not path.stem.startswith("__")
    }
    assert modules - words == {"clock", "plugin"}
