"""export and import: exact to the last bit, or refused with file and line."""

from __future__ import annotations

import io
import json
import math
import stat
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest

from litesess import Record, StoreFull, WALStore
from litesess.cli import lines
from litesess.cli.exits import Exit
from litesess.cli.stopping import Stopped
from litesess.ids import key_of
from litesess.testing import FakeClock
from tests.tools.commands import LATER, content, fill

KEY = bytes(range(32))
EVERYTHING = {
    "text": 'ä\u2028\x00\x85"\\</script>',
    "numbers": [0, -1, 1.5, 1e300, 5e-324, 0.1, 2**63, 10**100],
    "none": None,
    "yes": True,
    "empty": [{}, [], "", ()],
    "when": datetime(2026, 1, 31, 10, tzinfo=timezone(timedelta(hours=1))),
    "local": datetime(2026, 1, 31, 10, 0, 0, 5),  # noqa: DTZ001  # to be kept without one
    "day": date(2026, 1, 31),
    "price": Decimal("1.50"),
    "uuid": UUID(int=7),
    "bytes": bytes(range(256)),
    "tuple": (1, (2, [3])),
    "set": {3, 1, 2},
    "frozen": frozenset({"b", "a"}),
    "by number": {1: "one", (2, 3): "pair"},
    "tagged": {"~date": "no date"},
    "": {"z": 1, "a": 2},
    "~dict": 1,
}
RECORD = {
    "key": key_of("x"),
    "created_at": 1.25,
    "expires_at": LATER,
    "last_seen_at": None,
    "owner": None,
    "cookie": None,
    "client": None,
    "data": {"user": "ada"},
}


def sessions_in(path, **options):
    """Return all there is to know of each session by key."""
    with WALStore(path, read_only=True, **options) as store:
        return {
            key: (
                record.frames,
                record.created_at,
                record.expires_at,
                record.owner,
                record.cookie,
                record.client,
                record.last_seen_at,
            )
            for key, record in store.records()
        }


@pytest.fixture
def everything(tmp_path):
    """A store with a session of every kind of value."""
    path = tmp_path / "data"
    keys = fill(path)
    with WALStore(path) as store:
        cookie = {"max_age": 0.1, "domain": "example.org", "secure": True}
        client = {"user_agent": "curl\x1b", "address": "::1"}
        record = Record(
            EVERYTHING, 1.1, LATER + 0.1, cookie, "ä\nda", client=client, last_seen_at=1e9 + 0.7
        )
        store.create(key_of("everything"), record)
        store.create(key_of("empty"), Record({}, 0.0, LATER))
    assert len(sessions_in(path)) == len(keys) + 2
    return path


class TestRoundTrip:
    def test_everything_comes_back_exact(self, everything, cli, tmp_path):
        told = cli("export", everything, tmp_path / "out")
        assert told == (0, f"5 sessions exported to {tmp_path}/out\n", "")
        told = cli("import", "--create", tmp_path / "new", tmp_path / "out")
        assert told == (0, "5 sessions imported, 0 there already, 0 expired\n", "")
        assert sessions_in(tmp_path / "new") == sessions_in(everything)
        with WALStore(tmp_path / "new") as store:
            assert store.load(key_of("everything")).data == EVERYTHING
            assert [key for key, _ in store.find("ä\nda")] == [key_of("everything")]

    def test_into_an_encrypted_store_and_another_collection(
        self, everything, cli, tmp_path, monkeypatch
    ):
        cli("export", everything, tmp_path / "out")
        monkeypatch.setenv("LITESESS_ENCRYPTION_KEY", KEY.hex())
        arguments = ["--collection", "carts", everything, tmp_path / "out"]
        assert cli("import", "--create", "--raw-key", *arguments).code == 0
        there = {"collection": "carts", "encryption_key": KEY}
        assert sessions_in(everything, **there) == sessions_in(everything)

    def test_a_line_is_literally_this(self):
        record = Record(
            {"user": "ä", "n": (1,)}, 1.5, 2.0, {"max_age": 5.0}, "ada", last_seen_at=1.75
        )
        assert lines.written(key_of("x"), record) == (
            b'{"key":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",'
            b'"created_at":1.5,"expires_at":2.0,"last_seen_at":1.75,"owner":"ada","cookie":{"max_age":5.0},'
            b'"client":null,"data":{"user":"\xc3\xa4","n":{"~tuple":[1]}}}\n'
        )

    def test_export_goes_to_stdout_without_a_file(self, everything, cli):
        told = cli("export", everything)
        assert (told.code, told.err) == (0, "")
        found = [json.loads(line) for line in told.out.removesuffix("\n").split("\n")]
        assert {each["key"] for each in found} == {*sessions_in(everything)}

    def test_export_of_an_owner_leaves_out_all_others(self, everything, cli, tmp_path):
        told = cli("export", "--owner", "ada", everything, tmp_path / "out", "--json")
        assert told.json == {"file": f"{tmp_path}/out", "exported": 2}
        written = (tmp_path / "out").read_text().splitlines()
        assert [json.loads(line)["owner"] for line in written] == ["ada", "ada"]

    def test_import_reads_stdin_without_a_file(self, everything, cli, tmp_path, monkeypatch):
        out = cli("export", everything).out
        stdin = io.TextIOWrapper(io.BytesIO(out.encode()))
        monkeypatch.setattr("sys.stdin", stdin)
        assert cli("import", "--create", tmp_path / "new", "--json").json == {
            "created": 5,
            "existing": 0,
            "expired": 0,
            "dry_run": False,
        }


class TestExport:
    def test_the_file_is_for_its_owner_alone(self, everything, cli, tmp_path):
        cli("export", everything, tmp_path / "out")
        assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o600

    def test_a_file_that_is_there_stays_as_it_is(self, everything, cli, tmp_path):
        (tmp_path / "out").write_text("precious")
        told = cli("export", everything, tmp_path / "out")
        assert told.code == Exit.PATH
        assert "exists already; choose another name" in told.err
        assert (tmp_path / "out").read_text() == "precious"

    @pytest.mark.parametrize("error", [Stopped(2), Stopped(15), OSError(28, "no space")])
    def test_nothing_remains_of_one_that_failed(
        self, error, everything, cli, tmp_path, monkeypatch
    ):
        def records(_store):
            yield key_of("x"), Record({"a": 1}, 1.0, LATER)
            assert len(content(tmp_path / "out")) == 1
            raise error

        (tmp_path / "out").mkdir()
        monkeypatch.setattr(WALStore, "records", records)
        assert cli("export", everything, tmp_path / "out" / "file").code in (130, 143, 7)
        assert content(tmp_path / "out") == {}

    def test_nothing_is_removed_from_what_has_taken_the_place_of_the_file(
        self, everything, cli, tmp_path, monkeypatch
    ):
        """It was removed by its path, wherever that led by then."""

        def records(_store):
            yield key_of("x"), Record({"a": 1}, 1.0, LATER)
            (tmp_path / "out").rename(tmp_path / "away")
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "file.part").write_text("of another")
            raise OSError(28, "no space")

        (tmp_path / "out").mkdir()
        monkeypatch.setattr(WALStore, "records", records)
        assert cli("export", everything, tmp_path / "out" / "file").code == Exit.FULL
        assert content(tmp_path / "out") == {"file.part": b"of another"}
        assert content(tmp_path / "away") == {}

    def test_a_file_that_another_has_put_under_its_name_stays(
        self, everything, cli, tmp_path, monkeypatch
    ):
        def records(_store):
            yield key_of("x"), Record({"a": 1}, 1.0, LATER)
            (tmp_path / "file.part").unlink()
            (tmp_path / "file.part").write_text("of another")
            raise OSError(28, "no space")

        monkeypatch.setattr(WALStore, "records", records)
        assert cli("export", everything, tmp_path / "file").code == Exit.FULL
        assert (tmp_path / "file.part").read_text() == "of another"

    def test_a_session_that_json_can_t_carry_is_named_and_leaves_no_file(self, cli, tmp_path):
        """It ended in a traceback."""
        with WALStore(tmp_path / "data") as store:
            store.create(key_of("x"), Record({}, 1.0, math.inf))
        told = cli("export", tmp_path / "data", tmp_path / "out")
        assert (told.code, told.out) == (Exit.FAILED, "")
        assert f"expires_at of session {key_of('x')[:16]} is no finite number" in told.err
        assert {path.name for path in tmp_path.iterdir()} == {"data"}

    def test_the_rest_of_a_killed_export_is_named(self, everything, cli, tmp_path):
        """The error named the file, which was not there."""
        (tmp_path / "file.part").touch()
        told = cli("export", everything, tmp_path / "file")
        assert told.code == Exit.PATH
        assert f"{tmp_path}/file.part: exists already; remove it" in told.err
        assert (tmp_path / "file.part").exists()


class TestImport:
    @pytest.fixture
    def file(self, tmp_path):
        """What writes a file of such sessions."""

        def write(*changes):
            path = tmp_path / "in.jsonl"
            path.write_text("".join(json.dumps(RECORD | change) + "\n" for change in changes))
            return path

        return write

    def test_it_counts_what_was_there_and_what_has_expired(self, cli, file, tmp_path):
        fill(tmp_path / "data")
        path = file({}, {"key": key_of("session 0")}, {"key": key_of("y"), "expires_at": 2.0})
        told = cli("import", tmp_path / "data", path)
        assert told == (0, "1 session imported, 1 there already, 1 expired\n", "")
        assert sessions_in(tmp_path / "data")[key_of("session 0")][0]["user"] == b'"secret0"'
        assert len(sessions_in(tmp_path / "data")) == 4
        again = cli("import", tmp_path / "data", path)
        assert again.out == "0 sessions imported, 2 there already, 1 expired\n"

    def test_what_has_expired_in_the_store_makes_room(self, cli, file, tmp_path):
        with WALStore(tmp_path / "data", clock=FakeClock(1.0)) as store:
            store.create(RECORD["key"], Record({"old": 1}, 1.0, 2.0))
        assert cli("import", tmp_path / "data", file({}), "--json").json["created"] == 1
        assert sessions_in(tmp_path / "data")[RECORD["key"]][0] == {"user": b'"ada"'}

    def test_the_optional_parts_may_be_left_out(self, cli, tmp_path):
        fill(tmp_path / "data")
        needed = {name: RECORD[name] for name in ("key", "created_at", "expires_at", "data")}
        (tmp_path / "in").write_text(f"\n{json.dumps(needed)}")
        assert cli("import", "--json", tmp_path / "data", tmp_path / "in").json["created"] == 1

    def test_a_store_that_is_not_there_is_not_made_unasked(self, cli, file, tmp_path):
        told = cli("import", tmp_path / "new", file({}))
        assert (told.code, (tmp_path / "new").exists()) == (Exit.PATH, False)

    def test_a_dry_run_only_checks(self, cli, file, tmp_path):
        told = cli("import", "--dry-run", tmp_path / "new", file({}, {"expires_at": 1}))
        assert told == (0, "1 session to import, 0 there already, 1 expired\n", "")
        assert not (tmp_path / "new").exists()
        bad = cli("import", "--dry-run", tmp_path / "new", file({}, {"key": "x"}))
        assert bad.code == Exit.BAD_LINE

    def test_a_missing_file_is_named_before_anything_is_done(self, cli, file, tmp_path):
        told = cli("import", "--create", tmp_path / "new", file({}), tmp_path / "none")
        assert told == (Exit.PATH, "", f"litesess: {tmp_path}/none: No such file or directory\n")
        assert not (tmp_path / "new").exists()

    def test_what_stands_before_a_bad_line_is_imported(self, cli, file, tmp_path):
        path = file({}, {"data": []}, {"key": key_of("y")})
        told = cli("import", "--create", tmp_path / "new", path)
        assert (told.code, told.out) == (Exit.BAD_LINE, "")
        assert told.err == (
            f"litesess: {path} line 2: 'data' is no object; before it 1 session imported\n"
        )
        assert {*sessions_in(tmp_path / "new")} == {RECORD["key"]}

    def test_ctrl_c_keeps_whole_sessions(self, cli, file, tmp_path, monkeypatch):
        path = file({}, {"key": key_of("y")})
        create = WALStore.create

        def create_and_be_stopped(self, key, record):
            create(self, key, record)
            raise Stopped(2)

        monkeypatch.setattr(WALStore, "create", create_and_be_stopped)
        assert cli("import", "--create", tmp_path / "new", path) == (Exit.INTERRUPTED, "", "")
        assert {*sessions_in(tmp_path / "new")} == {RECORD["key"]}

    def test_a_full_disk_is_said_once(self, cli, file, tmp_path, monkeypatch):
        def create(_store, _key, _record):
            raise StoreFull("no room")

        monkeypatch.setattr(WALStore, "create", create)
        told = cli("import", "--create", tmp_path / "new", file({}))
        assert told == (Exit.FULL, "", "litesess: no room\n")


def changed(**change):
    return json.dumps(RECORD | change).encode()


def with_value(text):
    return changed().replace(b'"ada"', text.encode())


BAD_LINES = {
    b"nonsense": "is not JSON at character 0",
    b"\xff": "is not UTF-8 at byte 0",
    b"[]": "is no JSON object",
    b"[" * 100_000: "can't be read as JSON",
    b'{"key":1,"key":1}': "names a member of an object twice",
    b"{}": "'key' is missing",
    changed(spare=1): "'spare' is unknown",
    changed(key="ABCDEF" * 11): "'key' is not 64 digits",
    changed(key=5): "'key' is not 64 digits",
    changed(created_at="now"): "'created_at' is not a number",
    changed(created_at=True): "'created_at' is not a number",
    changed(expires_at=None): "'expires_at' is not a number",
    changed(expires_at=10**400): "'expires_at' is not a number",
    changed(last_seen_at="now"): "'last_seen_at' is not a number",
    changed().replace(b"1.25", b"1e999"): "'created_at' is not a number",
    changed().replace(b"1.25", b"NaN"): "holds NaN",
    changed().replace(b"1.25", b"9" * 5000): "can't be read as JSON",
    changed(owner=5): "'owner' is neither a string nor null",
    changed(owner="\ud800"): "'owner' has a lone surrogate",
    changed(owner="x" * 70_000): "owner has 70001 bytes, limit 65535",
    changed(cookie=[]): "'cookie' is neither an object nor null",
    changed(cookie={"colour": "red"}): "unknown setting 'colour'",
    changed(cookie={"max_age": "long"}): "'cookie': max_age is of type str",
    changed(cookie={"path": "no slash"}): "'cookie': cookie path",
    changed(cookie={"~set": [1]}): "'cookie' is no object of settings",
    changed(cookie={"~decimal": "sNaN"}): "cookie has type decimal.Decimal, but can't be read",
    changed(cookie={"~bytes": "AA=="}): "'cookie' is no object of settings",
    changed(cookie={"~dict": [[1, 2]]}): "unknown setting 1",
    changed(cookie={"expires": 10**400}): "cookie expires is a number too large",
    changed(cookie={"max_age": 10**400}): "max_age is a number of seconds too large",
    changed(client={"address": 5}): "'client' is neither an object of strings",
    changed(data=[]): "'data' is no object",
    changed(data={"x" * 70_000: 1}): "has a key of 70000 bytes, limit 65535",
    changed(data={"user": "x" * 1_100_000}): "bytes, limit 1048576",
    with_value("NaN"): "holds NaN",
    with_value("1e999"): "the value of 'user' can't be stored",
    with_value('"\\ud800"'): "the value of 'user' can't be stored",
    with_value("[" * 40 + "]" * 40): "nested deeper than 32 levels",
    with_value('{"~date":"2026-02-30"}'): "the value of 'user' can't be stored",
    with_value('{"~unknown":1}'): "the value of 'user' can't be stored",
    with_value('{"~bytes":"!!!"}'): "not have the form that export writes",
    with_value('{"~datetime":"2026-01-31"}'): "not have the form that export writes",
    with_value('{"~set":[1,1]}'): "not have the form that export writes",
    with_value(
        '{"~uuid":"{00000000-0000-0000-0000-000000000007}"}'
    ): "not have the form that export writes",
    with_value('{"a":1,"a":2}'): "names a member of an object twice",
}


@pytest.mark.parametrize(("line", "reason"), BAD_LINES.items(), ids=range(len(BAD_LINES)))
def test_a_bad_line_is_refused_whole_and_says_why(line, reason, cli, tmp_path):
    fill(tmp_path / "data")
    before = sessions_in(tmp_path / "data")
    (tmp_path / "in").write_bytes(b"\n" + line + b"\n")
    told = cli("import", tmp_path / "data", tmp_path / "in")
    assert (told.code, told.out) == (Exit.BAD_LINE, "")
    assert told.err.startswith(f"litesess: {tmp_path}/in line 2: ")
    assert reason in told.err
    assert told.err.endswith("; before it 0 sessions imported\n")
    assert sessions_in(tmp_path / "data") == before


def test_a_line_without_an_end_is_not_read_into_memory(cli, tmp_path, monkeypatch):
    fill(tmp_path / "data")
    monkeypatch.setattr("litesess.cli.commands.import_._MOST_BYTES", 100)
    (tmp_path / "in").write_bytes(changed() + b"\n")
    told = cli("import", tmp_path / "data", tmp_path / "in")
    assert told.code == Exit.BAD_LINE
    assert "line 1: has 100 bytes or more" in told.err


def test_an_error_shows_no_value(cli, tmp_path):
    fill(tmp_path / "data")
    (tmp_path / "in").write_bytes(with_value('{"~decimal":"hunter2"}') + b"\n")
    assert "hunter2" not in cli("import", tmp_path / "data", tmp_path / "in").err
