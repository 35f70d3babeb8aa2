"""docs/mod_wsgi.rst: Apache serves the page's app by the page's lines, from several processes."""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from pathlib import Path

import pytest

from tests.tools.containers import can_be_contained, contained
from tests.tools.servers import ROOT, SECRET, Client, Server, wait_until

PAGE = (ROOT / "docs" / "mod_wsgi.rst").read_text()
MODULES = Path("/usr/lib/apache2/modules")
APACHE = shutil.which("apache2", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
#: It is built for one version of Python, and named after it.
MODULE = MODULES / f"mod_wsgi.so-{sys.version_info.major}.{sys.version_info.minor}"
USER = 65534

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        APACHE is None or not MODULE.exists(),
        reason="needs mod_wsgi for this Python: apt install apache2 libapache2-mod-wsgi-py3",
    ),
    pytest.mark.skipif(not can_be_contained(), reason="mounts nothing: needs root on Linux"),
]


def block(kind: str) -> str:
    """Return the page's block of a kind."""
    (found,) = re.findall(rf"code-block:: {kind}\n\n((?:    .*\n|\n)+)", PAGE)
    return re.sub(r"^    ", "", found, flags=re.MULTILINE)


@pytest.fixture(params=["by the page's lines", "in a sub-interpreter"])
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return the directory of the page's app, which begins a session, and its configuration."""
    for above in (tmp_path, *tmp_path.parents[:3]):
        above.chmod(above.stat().st_mode | 0o011)
    app = tmp_path / "app"
    app.mkdir()
    (app / "app.wsgi").write_text(
        block("python")
        .replace('session.get("user", "stranger")', "str(session.atomic(count))")
        .replace(
            "def hello",
            "def count(session):\n"
            '    session["n"] = session.get("n", 0) + 1\n'
            "    return f\"{session['n']} {os.getpid()}\"\n\n"
            "def hello",
            1,
        )
    )
    (app / "session-secret").write_text(SECRET)
    os.chown(app, USER, USER)
    modules = {"mpm_event": "mod_mpm_event.so", "authz_core": "mod_authz_core.so"}
    modules["wsgi"] = MODULE.name
    lines = block("apache")
    for ours, theirs in (
        ("user=app group=app", "user=nobody group=nogroup"),
        ("/srv/app/.venv", f"{sys.prefix} python-path={ROOT}"),
    ):
        assert ours in lines
        lines = lines.replace(ours, theirs)
    if request.param == "in a sub-interpreter":
        lines = "".join(line for line in lines.splitlines(True) if "ApplicationGroup" not in line)
    configuration = [
        "ServerRoot /srv/app",
        "ServerName localhost",
        "User nobody",
        "Group nogroup",
        "ErrorLog /dev/stderr",
        "PidFile /srv/app/pid",
        "DefaultRuntimeDir /srv/app",
        *(f"LoadModule {name}_module {MODULES}/{file}" for name, file in modules.items()),
        "WSGISocketPrefix /srv/app/wsgi",
        lines,
    ]
    (app / "httpd.conf").write_text("\n".join(configuration) + "\n")
    return app


def apache(site: Path) -> Server:
    run = (
        f"exec chroot $R env -i PATH=/usr/bin:/bin {APACHE} -f /srv/app/httpd.conf"
        " -C 'Listen 127.0.0.1:{port}' -DFOREGROUND"
    )
    return Server(contained(site.parent, {"/srv/app": site}, run), site.parent)


def ask(client: Client) -> tuple[int, str]:
    """Return the count of a visitor's requests, and the process that answered."""
    answer = client.request("GET", "/")
    assert answer.status_code == 200, answer.text
    count, pid = answer.text.split()
    return int(count), pid


def test_the_processes_of_apache_share_the_sessions_and_a_restart_keeps_them(site: Path) -> None:
    pids: set[str] = set()
    with apache(site) as server, Client(server) as client:
        client.http.headers["Connection"] = "close"
        count = 0

        def has_met_two() -> bool:
            nonlocal count
            found, pid = ask(client)
            count += 1
            assert found == count
            pids.add(pid)
            return len(pids) > 1

        wait_until(has_met_two, "two processes have answered")
        server.stop()
        files = [path for path in (site / "data").iterdir() if path.is_file()]
        assert {path.stat().st_uid for path in files} == {USER}
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        with apache(site) as again:
            client.server = again
            assert ask(client)[0] == count + 1
            again.stop()
        assert "Fatal" not in server.output + again.output
