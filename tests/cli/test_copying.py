"""backup and salvage: what they make, and that nothing remains of what failed."""

from __future__ import annotations

import re
import shutil

import pytest

from litesess import StoreFull, WALStore
from litesess.cli.exits import Exit
from litesess.cli.stopping import Stopped
from litesess.engine.format import WAL_MAGIC
from litesess.ids import handle_of
from tests.tools.commands import content, fill


def keys_in(path, **options):
    with WALStore(path, read_only=True, **options) as store:
        return {key for key, _ in store.records()}


def damage(path, word=b"secret0"):
    """Flip a bit of the log where *word* stands."""
    (log,) = path.glob("*.wal")
    data = bytearray(log.read_bytes())
    data[data.index(word)] ^= 1
    log.write_bytes(data)


class TestBackup:
    def test_the_copy_holds_what_was_acknowledged(self, cli, tmp_path):
        keys = fill(tmp_path / "data")
        told = cli("backup", tmp_path / "data", tmp_path / "copy")
        assert told == (0, f"3 sessions in {tmp_path}/copy\n", "")
        assert keys_in(tmp_path / "copy") == {*keys}

    def test_json_says_where_and_how_many(self, cli, tmp_path):
        fill(tmp_path / "data")
        told = cli("backup", "--json", tmp_path / "data", tmp_path / "copy")
        assert told.json == {"directory": f"{tmp_path}/copy", "live": 3}

    def test_it_can_be_restored_and_written_to(self, cli, tmp_path):
        first, second, third = fill(tmp_path / "data")
        cli("compact", tmp_path / "data")
        cli("revoke", tmp_path / "data", handle_of(third))
        assert cli("backup", tmp_path / "data", tmp_path / "copy").code == 0
        cli("revoke", tmp_path / "data", "--all")
        # As docs/cli.rst says.
        (tmp_path / "data").rename(tmp_path / "data.old")
        shutil.copytree(tmp_path / "copy", tmp_path / "data")
        with WALStore(tmp_path / "data") as store:
            assert store.load(first).data["user"] == "secret0"
            assert store.load(third) is None
            assert store.delete(second)
        assert cli("verify", tmp_path / "data").code == 0

    def test_an_encrypted_store_is_copied_as_it_is(self, cli, tmp_path, monkeypatch):
        key = bytes(range(32))
        keys = fill(tmp_path / "data", encryption_key=key)
        monkeypatch.setenv("LITESESS_ENCRYPTION_KEY", key.hex())
        assert cli("backup", tmp_path / "data", tmp_path / "copy").code == 0
        assert keys_in(tmp_path / "copy", encryption_key=key) == {*keys}

    def test_a_directory_that_holds_a_store_is_left_as_it_is(self, cli, tmp_path):
        fill(tmp_path / "data")
        fill(tmp_path / "copy")
        before = content(tmp_path / "copy")
        told = cli("backup", tmp_path / "data", tmp_path / "copy")
        assert told.code == Exit.PATH
        assert "holds a store already; choose an empty directory" in told.err
        assert content(tmp_path / "copy") == before

    def test_a_missing_parent_is_named(self, cli, tmp_path):
        fill(tmp_path / "data")
        told = cli("backup", tmp_path / "data", tmp_path / "no" / "copy")
        assert told == (
            Exit.PATH,
            "",
            f"litesess: {tmp_path}/no/copy: No such file or directory\n",
        )

    @pytest.mark.parametrize("error", [StoreFull("full"), Stopped(2), OSError(5, "broken")])
    @pytest.mark.parametrize("is_there", [False, True])
    def test_nothing_remains_of_one_that_failed(self, error, is_there, cli, tmp_path, monkeypatch):
        fill(tmp_path / "data")
        copy = tmp_path / "copy"
        if is_there:
            copy.mkdir(0o700)
            (copy / "notes").touch()

        def fail(_self):
            assert any(copy.glob("*.wal"))
            raise error

        monkeypatch.setattr(WALStore, "stats", fail)
        told = cli("backup", tmp_path / "data", copy)
        assert told.code in (Exit.FULL, Exit.INTERRUPTED, Exit.FAILED)
        assert [*copy.iterdir()] == [copy / "notes"] if is_there else not copy.exists()

    @pytest.mark.parametrize("is_there", [False, True])
    def test_nothing_is_removed_that_another_command_has_put_there(
        self, is_there, cli, tmp_path, monkeypatch
    ):
        """Each file of a store was removed that had not been there when the command began."""
        fill(tmp_path / "data")
        copy = tmp_path / "copy"
        if is_there:
            copy.mkdir(0o700)
        back_up = WALStore.backup

        def back_up_as_another_then(self, path):
            back_up(self, path)
            back_up(self, path)

        monkeypatch.setattr(WALStore, "backup", back_up_as_another_then)
        told = cli("backup", tmp_path / "data", copy)
        assert told.code == Exit.PATH
        assert "holds a store already" in told.err
        assert len(keys_in(copy)) == 3

    def test_nothing_is_removed_from_what_has_taken_the_place_of_the_copy(
        self, cli, tmp_path, monkeypatch
    ):
        """It was removed by the names of the copy, wherever those led by then."""
        fill(tmp_path / "data")
        fill(tmp_path / "other")
        before = content(tmp_path / "other")
        copy = tmp_path / "copy"

        def fail(_self):
            copy.rename(tmp_path / "away")
            copy.symlink_to(tmp_path / "other")
            raise StoreFull("full")

        monkeypatch.setattr(WALStore, "stats", fail)
        assert cli("backup", tmp_path / "data", copy).code == Exit.FULL
        assert content(tmp_path / "other") == before
        assert copy.is_symlink()
        assert [*(tmp_path / "away").iterdir()] == []


class TestSalvage:
    def test_what_is_certain_is_kept_and_holes_are_named(self, cli, tmp_path):
        keys = fill(tmp_path / "data")
        damage(tmp_path / "data", b"secret1")
        before = content(tmp_path / "data")
        told = cli("salvage", tmp_path / "data", tmp_path / "new")
        assert told.code == 0
        assert told.out.startswith("1 session kept, of which 1 have not expired; 1 left out")
        assert re.search(r"not readable: .*\.wal offset \d+: ", told.out)
        assert keys_in(tmp_path / "new") == {keys[2]}
        assert content(tmp_path / "data") == before

    def test_json_says_the_same(self, cli, tmp_path):
        fill(tmp_path / "data")
        damage(tmp_path / "data", b"secret1")
        told = cli("salvage", "--json", tmp_path / "data", tmp_path / "new").json
        (hole,) = told.pop("holes")
        assert ".wal offset" in hole
        assert told == {"directory": f"{tmp_path}/new", "kept": 1, "live": 1, "doubtful": 1}

    def test_a_store_in_use_is_refused(self, cli, tmp_path):
        fill(tmp_path / "data")
        with WALStore(tmp_path / "data") as store:
            len(store)
            told = cli("salvage", tmp_path / "data", tmp_path / "new")
        assert (told.code, told.out) == (Exit.LOCKED, "")
        assert "is in use; stop the processes that use it first" in told.err
        assert not (tmp_path / "new").exists()

    def test_it_gets_over_a_damaged_header(self, cli, tmp_path):
        fill(tmp_path / "data")
        damage(tmp_path / "data", WAL_MAGIC)
        told = cli("salvage", tmp_path / "data", tmp_path / "new")
        assert told.code == 0
        assert told.out.startswith("0 sessions kept")

    def test_the_target_must_be_another_and_empty(self, cli, tmp_path):
        fill(tmp_path / "data")
        before = content(tmp_path / "data")
        told = cli("salvage", tmp_path / "data", tmp_path / "data")
        assert told.code != 0
        assert content(tmp_path / "data") == before
        fill(tmp_path / "new")
        told = cli("salvage", tmp_path / "data", tmp_path / "new")
        assert told.code == Exit.USAGE
        assert "is not an empty store" in told.err
        assert len(keys_in(tmp_path / "new")) == 3
