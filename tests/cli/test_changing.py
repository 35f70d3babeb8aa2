"""revoke, gc, compact, rekey, passwd."""

from __future__ import annotations

import os

import pytest

from litesess import DecryptError, Record, WALStore
from litesess.cli.exits import Exit
from litesess.engine.lock import FileLock
from litesess.ids import handle_of, key_of
from litesess.testing import FakeClock
from tests.tools.commands import content, fill

OLD, NEW = "the former passphrase", "another passphrase"
RAW = bytes(range(32))


def left(path, **options):
    with WALStore(path, read_only=True, **options) as store:
        return {key for key, _ in store.records()}


class TestRevoke:
    def test_the_sessions_with_the_handles_end(self, cli, tmp_path):
        first, second, third = fill(tmp_path)
        told = cli("revoke", tmp_path, handle_of(first), handle_of(third))
        assert told == (0, "2 sessions revoked\n", "")
        assert left(tmp_path) == {second}

    def test_those_that_are_not_there_are_named_and_the_others_revoked(self, cli, tmp_path):
        first, second, third = fill(tmp_path)
        told = cli("revoke", tmp_path, "0123456789abcdef", handle_of(second))
        assert told == (
            Exit.NOT_THERE,
            "1 session revoked\n",
            "litesess: no session has the handle 0123456789abcdef\n",
        )
        assert left(tmp_path) == {first, third}

    def test_all_sessions_of_an_owner_end(self, cli, tmp_path):
        _, second, _ = fill(tmp_path)
        assert cli("revoke", tmp_path, "--owner", "ada", "--json").json == {"revoked": 2}
        assert left(tmp_path) == {second}

    def test_an_owner_without_sessions_is_no_error(self, cli, tmp_path):
        fill(tmp_path)
        assert cli("revoke", tmp_path, "--owner", "bob") == (0, "0 sessions revoked\n", "")

    def test_all_sessions_end_of_this_collection_alone(self, cli, tmp_path):
        fill(tmp_path)
        others = fill(tmp_path, collection="carts")
        assert cli("revoke", tmp_path, "--all") == (0, "all sessions were revoked\n", "")
        assert left(tmp_path) == set()
        assert left(tmp_path, collection="carts") == {*others}

    def test_a_store_that_is_open_elsewhere_sees_it_at_once(self, cli, tmp_path):
        first, *_ = fill(tmp_path)
        with WALStore(tmp_path) as store:
            assert store.load(first)
            assert cli("revoke", tmp_path, handle_of(first)).code == 0
            assert store.load(first) is None


def test_gc_deletes_what_has_expired(cli, tmp_path):
    keys = fill(tmp_path)
    with WALStore(tmp_path, clock=FakeClock(1.0)) as store:
        store.create(key_of("old"), Record({"a": 1}, 1.0, 2.0))
    assert cli("gc", tmp_path) == (0, "1 expired session deleted\n", "")
    assert cli("gc", tmp_path, "--json").json == {"deleted": 0}
    assert left(tmp_path) == {*keys}


def test_compact_gives_back_the_room(cli, tmp_path):
    fill(tmp_path, 100)
    cli("revoke", tmp_path, "--owner", "ada")
    told = cli("compact", tmp_path, "--json").json
    assert told["after_bytes"] < told["before_bytes"]
    assert len(left(tmp_path)) == 50
    assert [path.suffix for path in sorted(tmp_path.glob("*.0*"))] == [".snapshot", ".wal"]


def test_a_lock_that_another_process_keeps_is_named_after_the_timeout(cli, tmp_path):
    fill(tmp_path)
    with WALStore(tmp_path) as store:
        len(store)
        fd = os.open(tmp_path / "sessions.compact", os.O_RDWR)
        assert FileLock.take(fd)
        told = cli("compact", tmp_path, "--lock-timeout", "0.01")
        os.close(fd)
    assert told.code == Exit.LOCKED
    assert "is being compacted by another process" in told.err
    assert told.err.count("\n") == 1


class TestNewKeys:
    @pytest.fixture(autouse=True)
    def _keys(self, monkeypatch, cli):  # after cli, which knows no keys
        monkeypatch.setenv("LITESESS_ENCRYPTION_KEY", OLD)
        monkeypatch.setenv("LITESESS_NEW_ENCRYPTION_KEY", NEW)

    @pytest.mark.slow
    def test_passwd_lets_the_new_passphrase_open_the_store(self, cli, tmp_path):
        keys = fill(tmp_path, encryption_key=OLD)
        with WALStore(tmp_path, encryption_key=OLD) as running:
            assert len(running) == 3
            told = cli("passwd", tmp_path)
            assert told == (0, "the new key opens the store, the former one no more\n", "")
            assert running.delete(keys[0])  # goes on
        assert left(tmp_path, encryption_key=NEW) == {*keys[1:]}
        with pytest.raises(DecryptError):
            WALStore(tmp_path, encryption_key=OLD)

    def test_rekey_alone_keeps_the_passphrase_whatever_the_environment_says(self, cli, tmp_path):
        keys = fill(tmp_path, encryption_key=OLD)
        before = content(tmp_path)
        assert cli("rekey", tmp_path, "--json").json == {"rekeyed": True, "new_key": False}
        assert left(tmp_path, encryption_key=OLD) == {*keys}
        assert content(tmp_path)["sessions.keys"] != before["sessions.keys"]

    @pytest.mark.slow
    def test_rekey_new_replaces_the_passphrase_too(self, cli, tmp_path):
        keys = fill(tmp_path, encryption_key=OLD)
        told = cli("rekey", "--new", tmp_path)
        assert told.code == 0
        assert "restart the workers" in told.out
        assert left(tmp_path, encryption_key=NEW) == {*keys}

    def test_a_new_key_file_is_meant(self, cli, tmp_path):
        keys = fill(tmp_path / "data", encryption_key=OLD)
        file = tmp_path / "new"
        file.write_text("from a file, this time\n")
        assert cli("rekey", tmp_path / "data", "--new-key-file", file).code == 0
        assert left(tmp_path / "data", encryption_key="from a file, this time") == {*keys}

    def test_the_new_one_may_be_of_the_other_kind(self, cli, tmp_path, monkeypatch):
        keys = fill(tmp_path, encryption_key=OLD)
        monkeypatch.setenv("LITESESS_NEW_ENCRYPTION_KEY", RAW.hex())
        assert cli("passwd", tmp_path, "--raw-key").code == 0
        assert left(tmp_path, encryption_key=RAW) == {*keys}
        monkeypatch.setenv("LITESESS_ENCRYPTION_KEY", RAW.hex())
        monkeypatch.setenv("LITESESS_NEW_ENCRYPTION_KEY", RAW.hex())
        assert cli("passwd", tmp_path, "--passphrase").code == 0
        assert left(tmp_path, encryption_key=RAW.hex()) == {*keys}

    @pytest.mark.parametrize("command", ["passwd", "rekey"])
    def test_a_new_key_that_is_none_changes_nothing(self, command, cli, tmp_path, monkeypatch):
        fill(tmp_path, encryption_key=OLD)
        monkeypatch.setenv("LITESESS_NEW_ENCRYPTION_KEY", "short")
        before = content(tmp_path)
        told = cli(command, tmp_path, *(["--new"] if command == "rekey" else []))
        assert told.code == Exit.KEY
        assert "LITESESS_NEW_ENCRYPTION_KEY has 5 characters" in told.err
        assert "short" not in told.err.partition("has")[2]
        assert content(tmp_path)["sessions.keys"] == before["sessions.keys"]

    def test_without_a_new_key_it_says_how_to_give_one(self, cli, tmp_path, monkeypatch):
        fill(tmp_path, encryption_key=OLD)
        monkeypatch.delenv("LITESESS_NEW_ENCRYPTION_KEY")
        monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
        told = cli("passwd", tmp_path)
        assert told.code == Exit.KEY
        assert "set LITESESS_NEW_ENCRYPTION_KEY, or give --new-key-file" in told.err

    @pytest.mark.parametrize("command", ["passwd", "rekey"])
    def test_a_store_in_the_clear_has_no_key_to_change(self, command, cli, tmp_path, monkeypatch):
        monkeypatch.delenv("LITESESS_ENCRYPTION_KEY")
        fill(tmp_path)
        told = cli(command, tmp_path)
        assert told.code == Exit.KEY
        assert "is not encrypted" in told.err
