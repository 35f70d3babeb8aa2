"""The command line as processes: beside gunicorn, stopped at any moment, at pipes and terminals."""

from __future__ import annotations

import errno
import json
import os
import pty
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from litesess import Record, WALStore
from litesess.cli.exits import Exit
from litesess.engine.directory import TEMPORARY_SUFFIX
from litesess.ids import handle_of, key_of
from tests.site.test_workers import check, let_visit, visiting
from tests.tools.commands import LATER, content, environment, fill, run, start
from tests.tools.servers import PATIENCE, SECRET, TOOLS, Client, Server, gunicorn, id_in, wait_until

pytestmark = pytest.mark.slow

OLD, NEW = "the former passphrase", "another passphrase"
KEY = bytes(range(32)).hex()
#: LITESESS_STOPS sets how often each command is stopped (docs/testing.rst).
STOPS = int(os.environ.get("LITESESS_STOPS", "1"))


def serve(place, data, key):
    """Return a gunicorn with two workers on the store *data*."""
    added = {} if key is None else {"EXAMPLE_KEY": key}
    command = gunicorn("worker_app:application", TOOLS, "--threads", "4")
    command[command.index("-w") + 1] = "2"
    return Server(command, place, {"EXAMPLE_DATA": str(data), "SESSION_SECRET": SECRET, **added})


class Guest:
    """A client whose session nobody else touches."""

    def __init__(self, server):
        self.client = Client(server)
        self.client.request("POST", "/set/mark/7").raise_for_status()

    @property
    def handle(self):
        return handle_of(key_of(id_in(self.client.cookie).decode()))

    def data(self):
        # By another connection: the server closes one that was idle while a command ran, perhaps
        # just when it is used again.
        self.client.http.close()
        return self.client.request("POST", "/read").json()["data"]


@contextmanager
def busy(server):
    """Let visitors write as fast as they can; check every answer when the block has ended."""
    with visiting(server, 3) as visitors:
        threads = let_visit(visitors, 10**9)
        try:
            wait_until(lambda: sum(visitor.sent for visitor in visitors) > 50, "they visit")
            yield visitors
        finally:
            for visitor in visitors:
                visitor.is_stopped = True
            for thread in threads:
                thread.join()
        check(visitors, "beside the command line")
        assert all(visitor.resets == 0 for visitor in visitors)


@pytest.fixture(
    params=[
        pytest.param(None, marks=pytest.mark.long, id="in the clear"),
        pytest.param(KEY, id="encrypted"),
    ]
)
def key(request):
    """The store's key, by 32 bytes: each process that opens it by a passphrase takes 0.15 s."""
    return request.param


class TestBesideGunicorn:
    @pytest.fixture
    def site(self, tmp_path, key):
        """A busy server, and what runs a command on its store."""
        given = {} if key is None else {"LITESESS_ENCRYPTION_KEY": key}

        def command(name, *arguments, data=tmp_path / "data", env=given):
            return run(name, data, *arguments, env=env)

        with serve(tmp_path, tmp_path / "data", key) as server, busy(server):
            yield server, command
        assert "Traceback" not in server.output

    def test_what_looks_tells_what_is_there(self, site):
        server, command = site
        guest = Guest(server)
        assert command("stats", "--json").json["live"] >= 1
        handles = [
            json.loads(line)["handle"] for line in command("list", "--json").out.splitlines()
        ]
        assert guest.handle in handles
        assert len({*handles}) == len(handles)
        shown = command("show", guest.handle, "--data", "--json").json
        assert shown["data"] == {"mark": "7"}
        assert command("verify", "--json").json["good"] is True

    def test_revoked_is_revoked_and_nobody_else(self, site):
        server, command = site
        guests = [Guest(server) for _ in range(4)]
        assert command("revoke", *(guest.handle for guest in guests[:3])).code == 0
        assert [guest.data() for guest in guests] == [{}, {}, {}, {"mark": "7"}]

    def test_compacting_and_collecting_lose_nothing(self, site):
        server, command = site
        guest = Guest(server)
        for _ in range(2):
            assert command("compact").code == 0
            assert command("gc").code == 0
        assert guest.data() == {"mark": "7"}

    def test_a_backup_is_a_store_to_go_back_to(self, site, tmp_path, key):
        server, command = site
        guest = Guest(server)
        for at in range(3):
            told = command("backup", tmp_path / f"copy{at}", "--json")
            assert told.code == 0, told.err
            assert told.json["live"] >= 1
        later = Guest(server)
        with serve(tmp_path, tmp_path / "copy2", key) as again:
            guest.client.server = later.client.server = again
            assert guest.data() == {"mark": "7"}
            assert later.data() == {}

    def test_what_is_exported_is_imported_elsewhere_and_beside(self, site, tmp_path, key):
        server, command = site
        guest = Guest(server)
        assert command("export", tmp_path / "out").code == 0
        other = {"LITESESS_ENCRYPTION_KEY": NEW}
        told = command("import", "--create", tmp_path / "out", data=tmp_path / "other", env=other)
        assert told.code == 0, told.err
        with WALStore(tmp_path / "other", encryption_key=NEW) as store:
            assert store.load(store.locate(guest.handle)).data == {"mark": "7"}
        lines = [
            json.dumps(
                {"key": key_of(f"imported {at}"), "created_at": 1, "expires_at": LATER, "data": {}}
            )
            for at in range(500)
        ]
        (tmp_path / "in").write_text("\n".join(lines))
        assert command("import", tmp_path / "in", "--json").json["created"] == 500
        assert command("import", tmp_path / "in", "--json").json["existing"] == 500

    @pytest.mark.parametrize("key", [None], ids=["in the clear"])
    def test_no_key_is_made_for_a_store_in_the_clear(self, site):
        _, command = site
        assert command("rekey").code == Exit.KEY

    @pytest.mark.parametrize("key", [OLD], ids=["by passphrase"])
    def test_keys_are_changed(self, site):
        server, command = site
        guest = Guest(server)
        assert command("rekey").code == 0
        assert guest.data() == {"mark": "7"}
        both = {"LITESESS_ENCRYPTION_KEY": OLD, "LITESESS_NEW_ENCRYPTION_KEY": NEW}
        assert command("passwd", env=both).code == 0
        assert command("stats").code == Exit.KEY
        assert command("stats", env={"LITESESS_ENCRYPTION_KEY": NEW}).code == 0
        assert guest.data() == {"mark": "7"}

    def test_a_salvage_is_refused(self, site, tmp_path):
        _, command = site
        told = command("salvage", tmp_path / "new")
        assert told.code == Exit.LOCKED
        assert not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A store that each command has a while to do with; half of it has expired."""
    data = tmp_path_factory.mktemp("large") / "data"
    with WALStore(data, durable=False, lock_timeout=PATIENCE) as store:
        for at in range(20_000):
            expires_at = LATER if at % 2 else time.time() + 1
            record = Record({"filler": "x" * 500}, 1.0, expires_at, owner=f"user{at % 100}")
            store.create(key_of(str(at)), record)
        # Else it depends on the machine how much of it is in a log far beyond its limit.
        store.compact()
    return data


STOPPED = {
    "stats": ["stats", "DATA", "--watch", "--interval", "0.1"],
    "list": ["list", "DATA"],
    "verify": ["verify", "DATA"],
    "compact": ["compact", "DATA"],
    "gc": ["gc", "DATA"],
    "revoke": ["revoke", "DATA", "--owner", "user7"],
    "backup": ["backup", "DATA", "TARGET"],
    "salvage": ["salvage", "DATA", "TARGET"],
    "export": ["export", "DATA", "TARGET"],
    "import": ["import", "DATA", "--collection", "other", "--create", "LINES"],
}

LOOKING = {"stats", "list", "verify"}


@pytest.mark.parametrize(
    ("name", "number"),
    [
        *(
            pytest.param(name, signal.SIGINT, marks=[pytest.mark.long] * (name in LOOKING))
            for name in STOPPED
        ),
        # By the same handler, whichever the command: one that makes a target, one that writes.
        ("backup", signal.SIGTERM),
        ("import", signal.SIGTERM),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_stopped_at_any_moment_a_command_leaves_nothing(name, number, large, tmp_path):
    """Each time a little later, from when the program is being read to its last line."""
    command = STOPPED[name]
    lines = tmp_path / "lines"
    if "LINES" in command:
        assert run("export", large, lines).code == 0
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    codes = []
    took = 0.0  # the first time it is let be
    share = 1.0  # of the time that it took the first time; less if a stop came too late
    for at in count():
        if at > STOPS:
            if any(codes):
                break
            share /= 2
        data, target = tmp_path / "data", tmp_path / "target"
        shutil.copytree(large, data)
        places = {"DATA": data, "TARGET": target, "LINES": lines}
        with start(*(places.get(part, part) for part in command)) as process:
            began = time.monotonic()
            part = (min(at, STOPS) - rng.random()) / STOPS
            moment = share * took * (0.4 + 0.6 * part) if at else 1.0
            try:
                # No condition to wait for: any moment will do.
                process.wait(moment)
            except subprocess.TimeoutExpired:
                process.send_signal(number)
            _, err = process.communicate(timeout=PATIENCE)
        took = took or time.monotonic() - began
        codes.append(process.returncode)
        # By the signal itself, or a complaint of the interpreter, as long as that is starting.
        is_starting = process.returncode == -number or "Fatal Python error: init" in err
        assert process.returncode in (0, 128 + number) or is_starting, err
        if process.returncode == 128 + number:
            assert err == ""
        assert target.exists() == (process.returncode == 0 and "TARGET" in command)
        assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []
        assert [path.name for path in data.iterdir() if path.name.endswith(TEMPORARY_SUFFIX)] == []
        with WALStore(data) as store:
            store.verify()
            assert store.create(key_of("new"), Record({}, 1.0, LATER))
        shutil.rmtree(data)
        if target.is_dir():
            shutil.rmtree(target)
        target.unlink(missing_ok=True)
    print(codes)


@pytest.mark.parametrize("command", ["list", "export"])
def test_a_reader_that_goes_away_is_no_error(command, large):
    with start(command, large) as process:
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE) == Exit.CLOSED_PIPE


@pytest.mark.parametrize("arguments", [["list", "--json"], ["export"], ["--help"]])
def test_a_full_disk_behind_stdout_is_one_line(arguments, large):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full, as on macOS, to stand for a full disk")
    command, *rest = arguments
    on = [] if command == "--help" else [large]
    with Path("/dev/full").open("w") as full:
        told = run(command, *rest, *on, stdout=full)
    assert told == (Exit.FULL, None, "litesess: No space left on device\n")


def test_output_that_the_locale_can_t_carry_is_escaped(tmp_path):
    with WALStore(tmp_path) as store:
        store.create(key_of("x"), Record({}, 1.0, LATER, owner="ädä"))
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    told = run("list", tmp_path, env=env)
    assert told.code == 0
    assert "\\xe4d\\xe4" in told.out
    assert run("export", tmp_path, tmp_path / "out", env=env).code == 0
    assert '"owner":"ädä"' in (tmp_path / "out").read_text("utf-8")


class Terminal:
    """A command at a terminal of its own."""

    def __init__(self, *arguments, **env):
        env = environment(TERM="xterm", COLUMNS="100", **env)
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            command = [sys.executable, "-m", "litesess", *map(str, arguments)]
            os.execve(command[0], command, env)
        self.shown = ""

    def wait_for(self, text):
        wait_until(lambda: text in self._read(), f"{text!r} is shown")

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self):
        """Return the exit status and all that was shown."""
        while self._read(until_closed=True):
            pass
        os.close(self.fd)
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status), self.shown

    def _read(self, *, until_closed=False):
        try:
            data = os.read(self.fd, 4096)
        except OSError as error:
            if error.errno != errno.EIO:  # nobody has it open any more
                raise
            data = b""
        self.shown += data.decode()
        return data if until_closed else self.shown


COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m|\x1b\[1m")


class TestTerminal:
    @pytest.mark.parametrize(
        ("command", "label"),
        [
            (["verify", "DATA"], "verifying"),
            (["compact", "DATA"], "compacting"),
            (["backup", "DATA", "TARGET"], "copying"),
            (["export", "DATA", "TARGET"], "exporting"),
            (["salvage", "DATA", "TARGET"], "salvaging"),
        ],
        ids=lambda value: value[0] if isinstance(value, list) else value,
    )
    @pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}], ids=["in colour", "without"])
    def test_a_bar_shows_how_far_the_work_is(self, command, label, env, tmp_path):
        pytest.importorskip("rich")
        fill(tmp_path / "data", 300)
        places = {"DATA": tmp_path / "data", "TARGET": tmp_path / "target"}
        code, shown = Terminal(*(places.get(part, part) for part in command), **env).end()
        assert code == 0
        assert label in shown
        assert bool(COLOUR.search(shown)) == (not env)

    def test_headings_are_bold_where_that_can_be_seen(self, tmp_path):
        fill(tmp_path)
        _, shown = Terminal("list", tmp_path).end()
        assert shown.startswith("\x1b[1mHANDLE")
        _, shown = Terminal("list", tmp_path, NO_COLOR="1").end()
        assert "\x1b" not in shown
        assert "\x1b" not in run("list", tmp_path, env={"TERM": "xterm"}).out

    def test_a_pipe_gets_no_bar(self, tmp_path):
        fill(tmp_path)
        told = run("verify", tmp_path, env={"TERM": "xterm", "FORCE_COLOR": "1"})
        assert (told.code, told.err) == (0, "")
        assert "\x1b" not in told.out

    def test_a_passphrase_is_asked_for_and_not_shown(self, tmp_path):
        fill(tmp_path, encryption_key=OLD)
        terminal = Terminal("stats", tmp_path)
        terminal.wait_for(f"passphrase of {tmp_path}: ")
        terminal.type(OLD + "\n")
        code, shown = terminal.end()
        assert code == 0
        assert "encrypted       yes" in shown.replace("\x1b[1m", "").replace("\x1b[0m", "")
        assert OLD not in shown

    def test_ctrl_c_at_the_prompt_ends_it(self, tmp_path):
        fill(tmp_path, encryption_key=OLD)
        before = content(tmp_path)
        terminal = Terminal("passwd", tmp_path)
        terminal.wait_for(": ")
        terminal.type("\x03")
        code, shown = terminal.end()
        assert (code, "Traceback" in shown) == (Exit.INTERRUPTED, False)
        assert content(tmp_path) == before

    def test_a_closed_terminal_ends_it(self, tmp_path):
        fill(tmp_path)
        # Whoever runs the tests may have been told to ignore it, and hand that on.
        former = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        try:
            process = start("stats", "--watch", tmp_path)
        finally:
            signal.signal(signal.SIGHUP, former)
        with process:
            assert process.stdout.readline()
            process.send_signal(signal.SIGHUP)
            process.communicate(timeout=PATIENCE)
        assert process.returncode == Exit.HANGUP

    def test_what_nohup_ignores_stays_ignored(self, large, tmp_path):
        shell = 'trap "" HUP; exec "$@"'
        command = ["sh", "-c", shell, "sh", sys.executable, "-m", "litesess", "backup", large]
        with subprocess.Popen([*command, tmp_path / "copy"], env=environment()) as process:
            wait_until(lambda: (tmp_path / "copy").exists(), "it begins")
            process.send_signal(signal.SIGHUP)
        assert process.returncode == 0


def test_bash_completes_commands_and_options(tmp_path):
    pytest.importorskip("shtab")
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash, whose own completion is asked")
    (tmp_path / "script").write_text(run("completion", "bash").out)

    def completed(*words):
        asked = (
            f'. "{tmp_path}/script"; COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1};'
            ' _shtab_litesess; echo "${COMPREPLY[@]}"'
        )
        done = subprocess.run([bash, "-c", asked], stdout=subprocess.PIPE, text=True, check=True)
        return {*done.stdout.split()}

    assert completed("litesess", "re") == {"revoke", "rekey"}
    assert completed("litesess", "revoke", "--ow") == {"--owner"}
