"""stats, list, show, verify: what they say, and that they leave no trace."""

from __future__ import annotations

import json
import math
import os
import re
import signal
from datetime import datetime, timezone
from decimal import Decimal

import pytest

from litesess import Record, WALStore
from litesess.cli.exits import Exit
from litesess.engine.lock import FileLock
from litesess.ids import handle_of, key_of
from litesess.testing import FakeClock
from tests.tools.commands import LATER, content, fill, run, start
from tests.tools.servers import wait_until


def test_stats_counts_the_sessions_and_the_bytes(cli, tmp_path):
    fill(tmp_path)
    with WALStore(tmp_path, clock=FakeClock(1.0)) as store:
        store.create(key_of("old"), Record({"a": 1}, 1.0, 2.0))
    told = cli("stats", tmp_path)
    assert told.code == 0
    facts = dict(re.split("  +", line) for line in told.out.splitlines())
    assert facts == {
        "path": str(tmp_path),
        "collection": "sessions",
        "encrypted": "no",
        "live": "3",
        "expired": "1",
        "log bytes": facts["log bytes"],
        "snapshot bytes": "0 B",
        "generation": "1",
        "poisoned": "no",
    }
    as_json = cli("stats", "--json", tmp_path).json
    assert {name.replace("_", " ") for name in as_json} == {*facts}
    assert (as_json["live"], as_json["expired"], as_json["poisoned"]) == (3, 1, False)
    assert isinstance(as_json["log_bytes"], int)


PLANTED = {
    "a FIFO": (os.mkfifo, "is not a regular file"),
    "a link": (lambda path: os.symlink("/dev/zero", path), "is a link, device or directory"),
    "a directory": (os.mkdir, "is not a regular file"),
}


@pytest.mark.parametrize("planted", PLANTED)
@pytest.mark.parametrize("command", ["stats", "verify", "compact", "salvage"])
def test_something_planted_as_the_key_file_is_refused_at_once(command, planted, tmp_path):
    """A command waited for ever for the other end of a FIFO."""
    fill(tmp_path / "data")
    plant, words = PLANTED[planted]
    plant(tmp_path / "data" / "sessions.keys")
    more = [tmp_path / "new"] if command == "salvage" else []
    told = run(command, tmp_path / "data", *more)
    assert (told.code, told.out) == (Exit.PATH, "")
    assert told.err.startswith(f"litesess: {tmp_path}/data/sessions.keys {words}")
    assert told.err.count("\n") == 1


def test_a_fifo_in_the_place_of_the_live_file_is_refused_by_salvage(tmp_path):
    fill(tmp_path / "data")
    (tmp_path / "data" / "sessions.live").unlink()
    os.mkfifo(tmp_path / "data" / "sessions.live")
    told = run("salvage", tmp_path / "data", tmp_path / "new")
    assert (told.code, told.out) == (Exit.PATH, "")
    assert "sessions.live is not a regular file" in told.err


def test_a_huge_key_file_is_damaged_and_takes_no_memory(cli, tmp_path):
    """All of it was read: a sparse file of a terabyte was a MemoryError."""
    fill(tmp_path)
    with (tmp_path / "sessions.keys").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "sessions.keys").chmod(0o600)
    told = cli("stats", tmp_path)
    assert (told.code, told.out) == (Exit.DAMAGED, "")
    assert told.err.count("\n") == 1


def test_list_shows_handles_times_sizes_and_owners(cli, tmp_path):
    first, *_ = fill(tmp_path)
    heading, *rows = cli("list", tmp_path).out.splitlines()
    assert heading.split() == ["HANDLE", "BEGAN", "SEEN", "ENDS", "BYTES", "OWNER"]
    assert len(rows) == 3
    assert re.split("  +", rows[0]) == [
        handle_of(first),
        "2001-09-09 01:46:40Z",
        "2001-09-09 01:50:00Z",
        "2096-10-02 07:06:40Z",
        "12 B",
        "ada",
    ]


def test_list_prints_a_json_object_for_each_session(cli, tmp_path):
    keys = fill(tmp_path)
    found = [json.loads(line) for line in cli("list", "--json", tmp_path).out.splitlines()]
    assert [each["handle"] for each in found] == [handle_of(key) for key in keys]
    assert found[1] == {
        "handle": handle_of(keys[1]),
        "owner": "eve",
        "created_at": 1e9 + 1,
        "expires_at": LATER,
        "last_seen_at": 1e9 + 200,
        "bytes": len('"secret1"[1]'),
        "cookie": None,
        "client": None,
    }


def test_list_of_an_owner_leaves_out_all_others(cli, tmp_path):
    keys = fill(tmp_path)
    told = cli("list", "--owner", "ada", tmp_path)
    assert [line.split()[0] for line in told.out.splitlines()[1:]] == [
        handle_of(keys[0]),
        handle_of(keys[2]),
    ]
    assert len(cli("list", "--owner", "nobody", tmp_path).out.splitlines()) == 1


def test_an_instant_that_json_lacks_is_null(cli, tmp_path):
    """`Infinity` was printed, which is no JSON."""
    with WALStore(tmp_path) as store:
        store.create(key_of("x"), Record({}, -math.inf, math.inf, last_seen_at=math.nan))
    (line,) = cli("list", "--json", tmp_path).out.splitlines()
    found = json.loads(line, parse_constant=pytest.fail)
    assert (found["created_at"], found["expires_at"], found["last_seen_at"]) == (None, None, None)


def test_show_shows_what_is_known_but_no_value(cli, tmp_path):
    key, *_ = fill(tmp_path)
    told = cli("show", tmp_path, handle_of(key))
    assert told.code == 0
    assert "owner         ada\n" in told.out
    assert "  user: 9 B\n" in told.out
    assert "secret0" not in told.out
    as_json = cli("show", "--json", tmp_path, handle_of(key)).json
    assert as_json["values"] == {"user": 9, "cart": 3}
    assert "data" not in as_json


def test_show_with_data_shows_the_values_as_json(cli, tmp_path):
    data = {"at": datetime(2026, 1, 31, tzinfo=timezone.utc), "price": Decimal("1.50"), "é": "ü"}
    typed = {"at": {"~datetime": "2026-01-31T00:00:00+00:00"}, "price": {"~decimal": "1.50"}}
    typed["é"] = "ü"
    with WALStore(tmp_path) as store:
        store.create(key_of("x"), Record(data, 1.0, LATER, {"max_age": 5.0}))
    told = cli("show", "--data", tmp_path, handle_of(key_of("x")))
    assert json.loads(told.out[told.out.index("{") :]) == typed
    as_json = cli("show", "--data", "--json", tmp_path, handle_of(key_of("x"))).json
    assert as_json["data"] == typed
    assert as_json["cookie"] == {"max_age": 5.0}


def test_no_command_that_looks_prints_a_key(cli, tmp_path):
    key, *_ = fill(tmp_path)
    for arguments in (["stats"], ["list"], ["show", handle_of(key), "--data"], ["verify"]):
        command, *rest = arguments
        for told in (cli(command, tmp_path, *rest), cli(command, tmp_path, *rest, "--json")):
            assert told.code == 0
            assert key[:17] not in told.out


def test_what_could_steer_a_terminal_is_escaped(cli, tmp_path):
    with WALStore(tmp_path) as store:
        hostile = {"\x1b]0;x\x07": 1}
        store.create(key_of("x"), Record(hostile, 1.0, LATER, owner="a\x1b[2J\nb\u202e"))
    for told in (cli("list", tmp_path), cli("show", tmp_path, handle_of(key_of("x")))):
        assert "a\\x1b[2J\\nb\\u202e" in told.out
        assert "\x1b" not in told.out
    assert "  \\x1b]0;x\\x07: 1 B" in told.out


@pytest.mark.parametrize("command", ["stats", "list", "verify", "show"])
def test_looking_changes_no_byte_and_repairs_nothing(command, cli, tmp_path):
    key, *_ = fill(tmp_path)
    (log,) = tmp_path.glob("*.wal")
    # As a killed writer leaves it: the slot knows of no end, the last record is not all there.
    data = log.read_bytes()
    written = data.rstrip(b"\0")[:-5]
    log.write_bytes(written.ljust(len(data), b"\0"))
    (tmp_path / "sessions.live").write_bytes(b"")
    before = content(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.iterdir()]}
    arguments = [handle_of(key)] if command == "show" else []
    assert cli(command, tmp_path, *arguments).code == 0
    assert content(tmp_path) == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_watching_is_no_presence_and_ends_by_ctrl_c(tmp_path):
    fill(tmp_path)
    with start("stats", "--watch", "--interval", 0.1, "--json", tmp_path) as process:
        seen = [json.loads(process.stdout.readline())["live"] for _ in range(2)]
        fd = os.open(tmp_path / "sessions.live", os.O_RDWR)
        assert FileLock.take(fd)
        os.close(fd)
        with WALStore(tmp_path) as store:
            store.clear()
        wait_until(lambda: json.loads(process.stdout.readline())["live"] == 0, "it sees that")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert seen == [3, 3]
    assert (process.returncode, err) == (Exit.INTERRUPTED, "")


def test_verify_says_what_is_good(cli, tmp_path):
    fill(tmp_path)
    told = cli("verify", tmp_path)
    assert told.code == 0
    assert "good       yes\n" in told.out
    as_json = cli("verify", "--json", tmp_path).json
    assert as_json["good"] is True
    assert (as_json["entries"], as_json["records"] >= 3) == (0, True)


def test_damage_is_named_with_file_and_offset(cli, tmp_path):
    fill(tmp_path)
    (log,) = tmp_path.glob("*.wal")
    damaged = bytearray(log.read_bytes())
    damaged[damaged.index(b"secret0")] ^= 1
    log.write_bytes(damaged)
    told = cli("verify", tmp_path)
    assert (told.code, told.out) == (Exit.DAMAGED, "")
    assert re.fullmatch(rf"litesess: {log} offset \d+: .*\n", told.err)


def test_a_handle_that_no_session_has_is_named(cli, tmp_path):
    fill(tmp_path)
    told = cli("show", tmp_path, "0123456789abcdef")
    assert told == (
        Exit.NOT_THERE,
        "",
        "litesess: no session has the handle 0123456789abcdef\n",
    )


def test_an_expired_session_is_not_there(cli, tmp_path):
    with WALStore(tmp_path, clock=FakeClock(1.0)) as store:
        store.create(key_of("old"), Record({"a": 1}, 1.0, 2.0))
    assert cli("show", tmp_path, handle_of(key_of("old"))).code == Exit.NOT_THERE
    assert len(cli("list", tmp_path).out.splitlines()) == 1
