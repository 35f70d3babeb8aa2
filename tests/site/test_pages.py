"""The site: each page is reachable, each link leads somewhere, what is generated is up to date."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests
from docutils import nodes

from litesess import MemoryStore, SessionMiddleware
from litesess.cli import MODULES
from litesess.cli.arguments import Commands
from tests.site.test_docs import PAGES, README, literal_blocks, parse, table_after
from tests.tools import reference
from tests.tools.browsers import NGINX, tls_proxy
from tests.tools.servers import ROOT, SECRET, Server, gunicorn

DOCS = ROOT / "docs"
INDEX = DOCS / "index.rst"

#: Three screens of a guide, in lines of the source.
LONGEST_GUIDE = 150
#: The parts of the contents whose pages are read from beginning to end.
GUIDES = ("Start", "How to", "Coming from", "Concepts")


@cache
def tree(page: Path) -> nodes.document:
    """Return the document tree of a page."""
    return parse(page.read_text())


def contents() -> dict[str, list[str]]:
    """Return the names of the pages in each part of the contents."""
    blocks = re.findall(
        r"^\.\. toctree::\n   :caption: (.+)\n   :hidden:\n\n((?:   .+\n)+)",
        INDEX.read_text(),
        re.MULTILINE,
    )
    return {caption: [name + ".rst" for name in names.split()] for caption, names in blocks}


def links(page: Path) -> list[str]:
    """Return the links of a page that lead to files."""
    found = [node.get("refuri", "") for node in tree(page).findall(nodes.reference)]
    return [link for link in found if link and not re.match(r"[a-z+]+:", link)]


def sections(page: Path) -> set[str]:
    """Return the ids of the sections of a page."""
    return {one for node in tree(page).findall(nodes.section) for one in node["ids"]}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_to_a_file_leads_to_that_file_and_its_section(page: Path) -> None:
    for link in links(page):
        name, _, section = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_file(), f"{link} does not exist"
        assert target.is_relative_to(ROOT)
        if section:
            assert section in sections(target), f"{link}: there is no such section"


@pytest.mark.parametrize("page", PAGES[2:], ids=lambda page: page.name)
def test_no_page_names_another_one_without_a_link(page: Path) -> None:
    bare = re.findall(r"``(?:docs/)?([\w-]+\.rst)``", page.read_text())
    if page.name != "CONTRIBUTING.rst":  # names pages as files, for those who change them
        assert [name for name in bare if (DOCS / name).exists()] == []


def test_each_page_is_in_the_contents_and_in_the_list_once() -> None:
    pages = sorted(path.name for path in DOCS.glob("*.rst") if path != INDEX)
    assert sorted(name for names in contents().values() for name in names) == pages
    listed = re.findall(r"<([\w-]+\.rst)>`__", INDEX.read_text())
    assert sorted(listed) == pages


@pytest.mark.parametrize("name", [name for part in GUIDES for name in contents()[part]])
def test_a_guide_is_at_most_three_screens(name: str) -> None:
    assert len((DOCS / name).read_text().splitlines()) <= LONGEST_GUIDE


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_page_that_is_generated_is_up_to_date(name: str) -> None:
    written = (DOCS / name).read_text()
    assert written == reference.PAGES[name](), "run: python -m tests.tools.reference"


def test_each_option_of_each_declaration_has_a_type() -> None:
    page = (DOCS / "options.rst").read_text()
    for _title, _about, declaration, keywords in reference.DECLARATIONS:
        for name, *_ in reference.rows(declaration):
            assert name in reference.annotations(keywords)
            assert re.search(rf"^``{name}`` : ``.+`` : ", page, re.MULTILINE)


def block(page: str, language: str, number: int = 0) -> str:
    """Return a block of a page in a language."""
    return literal_blocks((DOCS / page).read_text(), language)[number]


@pytest.fixture(scope="module")
def commands() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command."""
    all_of_them = Commands(MODULES)
    all_of_them.load_all()
    (parsers,) = (
        action.choices
        for action in all_of_them.parser._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return dict(parsers)


def lines_with_commands(page: Path) -> list[list[str]]:
    """Return the words of each command of litesess in the literal blocks of a page."""
    blocks = [
        node.astext()
        for node in tree(page).findall(nodes.literal_block)
        if "python" not in node["classes"]
    ]
    text = "\n".join(blocks).replace("\\\n", " ")
    found = re.findall(r"(?:^|[ (])(?<!SETUSER )litesess ([a-z][^|;&>)\n\"]*)", text, re.MULTILINE)
    return [words.split() for words in found if "[OPTIONS]" not in words]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_command_line_takes_each_command_of_the_page(
    page: Path, commands: dict[str, argparse.ArgumentParser]
) -> None:
    for name, *words in lines_with_commands(page):
        commands[name].parse_args(words)
    # In a sentence the address is often left out.
    for literal in (node.astext() for node in tree(page).findall(nodes.literal)):
        name, *words = (re.findall(r"^litesess ([a-z].*)", literal) or ["stats"])[0].split()
        if name != "COMMAND":
            known = commands[name]._option_string_actions
            assert {word for word in words if word.startswith("--")} <= {*known}, literal


def test_the_files_for_containers_are_yaml_of_the_right_shape() -> None:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML, to read the files for containers")
    compose, deployment = map(yaml.safe_load, literal_blocks(
        (DOCS / "containers.rst").read_text(), "yaml"))  # fmt: skip
    (volume,) = compose["services"]["app"]["volumes"]
    assert volume.partition(":")[0] in compose["volumes"]
    spec = deployment["spec"]["template"]["spec"]
    mounted = {mount["name"] for each in spec["containers"] for mount in each["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}
    assert (
        deployment["spec"]["selector"]["matchLabels"]
        == (deployment["spec"]["template"]["metadata"]["labels"])
    )


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("needs systemd-analyze: apt install systemd")
    unit = block("systemd.rst", "ini")
    command = re.sub(r"^(ExecStart)=\S+", rf"\1={shutil.which('true')}", unit, flags=re.MULTILINE)
    assert command != unit
    (tmp_path / "app.service").write_text(command)
    done = subprocess.run(
        [analyze, "verify", "--man=no", tmp_path / "app.service"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )
    said = [line for line in done.stderr.splitlines() if "app.service" in line]
    assert (done.returncode, said) == (0, [])


@pytest.mark.slow
@pytest.mark.skipif(NGINX is None, reason="needs nginx: apt install nginx-light")
def test_behind_the_nginx_of_the_page_the_cookie_is_secure(tmp_path: Path) -> None:
    app = block("nginx.rst", "python").replace(
        'environ["litesess.session"].get(', 'environ["litesess.session"].setdefault('
    )
    (tmp_path / "site_of_page.py").write_text(app)
    with Server(
        gunicorn("site_of_page:app", tmp_path), tmp_path, {"SESSION_SECRET": SECRET}
    ) as server:
        proxy = tls_proxy(server, tmp_path)
        servers = (
            block("nginx.rst", "nginx")
            .replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
            .replace("listen 8443", f"listen 127.0.0.1:{proxy.port}")
            .replace("fullchain.pem", "proxy.pem")
            .replace("privkey.pem", "proxy.pem")
        )
        configuration = (tmp_path / "proxy.conf").read_text()
        start = configuration.index("    server {")
        (tmp_path / "proxy.conf").write_text(configuration[:start] + servers + "}\n")
        with proxy:
            url = proxy.url.replace("http:", "https:")
            with requests.Session() as client:
                client.trust_env = False
                answer = client.get(url, verify=str(tmp_path / "proxy.pem"))
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-litesess.sid=")
    assert "; secure" in cookie.lower()


class Overlapping:
    """A site where one request calls a method of the session while another one is under way."""

    def __init__(self, owner: str | None, call: str) -> None:
        self.store = MemoryStore()
        self._owner, self._call = owner, call
        self.seen: dict[str, tuple[str | None, dict[str, Any]]] = {}
        self._app = SessionMiddleware(self._answer, secret=SECRET, store=self.store)

    def ask(self, path: str, cookie: str = "") -> str:
        """Send a request; return the browser's cookie after it, empty if it was forgotten."""
        sent: list[tuple[str, str]] = []
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "HTTP_COOKIE": cookie}
        list(self._app(environ, lambda _status, headers, _exc_info=None: sent.extend(headers)))
        for name, value in sent:
            if name == "Set-Cookie":
                return "" if "Max-Age=0" in value else value.partition(";")[0]
        return cookie

    def _answer(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        session, path = environ["litesess.session"], environ["PATH_INFO"]
        if path == "/begin":
            session["cart"] = 1
            session.owner = self._owner
        elif path == "/call":
            arguments = ["ada"] if self._call == "login" else []
            getattr(session, self._call)(*arguments)
            if self._call == "clear":
                session["message"] = "bye"
        elif path == "/late":
            session.get("cart")  # before the other request
            self.after = self.ask("/call", environ["HTTP_COOKIE"])
            session["late"] = 1
        self.seen[path] = session.owner, dict(session)
        start_response("200 OK", [])
        return []


def test_the_table_of_the_concepts_is_true() -> None:
    table = table_after("Each of these calls", DOCS / "concepts.rst")
    for call, new_id, data, owner, late in table[1:]:
        name = call.partition("(")[0]
        site = Overlapping("bob" if name != "login" else None, name)
        before = site.ask("/begin")
        site.ask("/late", before)
        site.ask("/see", site.after)
        found_owner, found = site.seen["/see"]
        assert (site.after != before) == (new_id == "yes" or not site.after), call
        assert (site.after == "") == (new_id == "deleted"), call
        assert ("cart" in found) == (data == "stays"), call
        expected = {"stays": "bob", "the user": "ada", "none": None, "deleted": None}
        assert found_owner == expected[owner], call
        assert ("late" in found) == (late == "merged"), call


def test_the_readme_is_where_the_site_begins() -> None:
    assert f".. include:: ../{README.name}" in INDEX.read_text()
