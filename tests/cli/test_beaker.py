"""import-beaker: files of real Beaker are imported once, and nothing in them is run."""

from __future__ import annotations

import base64
import errno
import json
import os
import pickle
import random
import signal
import subprocess
import time
import zlib
from contextlib import suppress
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest
from beaker.cache import CacheManager

from litesess import DecryptError, Record, StoreFull, WALStore
from litesess.beaker import from_beaker
from litesess.cli.exits import Exit
from litesess.cli.stopping import Stopped
from litesess.ids import handle_of, key_of
from tests.tools.apps import SECRET
from tests.tools.beakers import BeakerSite, id_of
from tests.tools.commands import content, fill, start
from tests.tools.imports import check_cut_files, check_refusal
from tests.tools.servers import PATIENCE, wait_until
from tests.web.test_cves import Bomb, bombs

TYPED = {
    "when": datetime(2026, 1, 31, tzinfo=timezone.utc),
    "price": Decimal("1.50"),
    "uuid": uuid4(),
    "raw": b"\x00\xff",
    "pair": (1, 2),
    "roles": {"admin", "editor"},
}


class Account:
    """A class of an app, with objects in its sessions."""

    def __init__(self, name):
        self.name = name


@pytest.fixture
def beaker(tmp_path):
    return BeakerSite(tmp_path / "beaker")


@pytest.fixture
def import_all(cli, tmp_path):
    """Return a function that imports Beaker's sessions into the store ``data``."""

    def run(*options, source=tmp_path / "beaker", timeout=3600, to=tmp_path / "data"):
        arguments = ["--create", "--timeout", timeout, *options, to, source]
        return cli("import-beaker", *arguments)

    return run


@pytest.fixture
def imported(tmp_path):
    """Return a function that returns the imported sessions by key."""

    def read(**options):
        with WALStore(tmp_path / "data", read_only=True, **options) as store:
            return dict(store.records())

    return read


def written(site, values, session_id=None):
    """Write a file as Beaker does, with any content; return it and its session's key."""
    session_id = session_id or uuid4().hex
    path = (
        site.directory / "container_file" / session_id[0] / session_id[:2] / f"{session_id}.cache"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(values if isinstance(values, bytes) else pickle.dumps({"session": values}))
    return path, key_of(session_id)


def packed(values):
    """Return values as Beaker's JSON serializer packs them."""
    return base64.b64encode(zlib.compress(json.dumps(values).encode())).decode()


def aged(**values):
    return {"_creation_time": 1e9, "_accessed_time": time.time(), "_path": "/", **values}


class TestWhatComesOver:
    @pytest.mark.parametrize("serializer", ["json", "pickle"])
    def test_the_values_and_the_times_of_each_serializer(
        self, serializer, tmp_path, import_all, imported
    ):
        site = BeakerSite(tmp_path / "beaker", data_serializer=serializer)
        values = {"user": "ada", "cart": [1, {"é": None}], "n": 2.5}
        before = time.time()
        browser = site.log_in(**values)
        assert import_all() == (
            0,
            "1 session imported, 0 there already, 0 expired, 0 empty, 0 refused\n",
            "",
        )
        ((key, record),) = imported().items()
        assert key == key_of(id_of(browser))
        assert record.data == values
        assert before <= record.created_at <= record.last_seen_at <= time.time()
        assert record.expires_at == record.last_seen_at + 3600
        assert record.owner is record.cookie is None

    def test_the_types_that_litesess_has_come_out_of_a_pickle(self, beaker, import_all, imported):
        beaker.log_in(**TYPED)
        assert import_all().code == 0
        ((_, record),) = imported().items()
        assert record.data == TYPED

    def test_what_an_old_beaker_had_not_packed(self, beaker, import_all, imported):
        _, key = written(beaker, aged(user="ada"))
        assert import_all().code == 0
        assert imported()[key].data == {"user": "ada"}
        assert imported()[key].created_at == 1e9

    def test_the_file_dir_may_be_named_itself(self, tmp_path, import_all, imported):
        site = BeakerSite(tmp_path / "beaker", file_dir=str(tmp_path / "files"))
        site.log_in(user="ada")
        assert import_all(source=tmp_path / "files").code == 0
        assert len(imported()) == 1
        assert import_all(source=tmp_path / "files").out.startswith("0 sessions imported")

    def test_into_an_encrypted_store(self, beaker, import_all, imported, monkeypatch):
        beaker.log_in(user="ada")
        monkeypatch.setenv("LITESESS_ENCRYPTION_KEY", "correct horse battery")
        assert import_all().code == 0
        assert len(imported(encryption_key="correct horse battery")) == 1

    def test_a_session_that_was_cleared_counts_from_when_it_was_written(
        self, beaker, import_all, imported
    ):
        path, key = written(beaker, packed({"_path": "/", "user": "ada"}))
        os.utime(path, (time.time() - 60, time.time() - 60))
        assert import_all().code == 0
        assert imported()[key].expires_at == pytest.approx(time.time() + 3540, abs=5)

    def test_no_session_lives_longer_than_one_that_is_used_now(self, beaker, import_all, imported):
        later = aged(user="ada", _accessed_time=time.time() + 1e6, _creation_time=time.time() + 2e6)
        _, key = written(beaker, packed(later))
        import_all()
        record = imported()[key]
        assert record.created_at <= record.last_seen_at <= time.time()


class TestWhatDoesNot:
    def test_objects_are_named_by_handle_and_stay_where_they_are(
        self, beaker, import_all, imported
    ):
        beaker.log_in(user="ada")
        browser = beaker.log_in(account=Account("hunter2"))
        before = [path.read_bytes() for path in beaker.files if path.stem == id_of(browser)]
        told = import_all()
        assert told.code == Exit.BAD_LINE
        assert told.out == "1 session imported, 0 there already, 0 expired, 0 empty, 1 refused\n"
        handle = handle_of(key_of(id_of(browser)))
        assert told.err == (
            f"litesess: warning: {handle} is not imported: holds {__name__}.Account\n"
        )
        assert len(imported()) == 1
        assert [path.read_bytes() for path in beaker.files] == before

    def test_no_pickle_is_run(self, beaker, import_all, imported, tmp_path):
        ran = tmp_path / "ran"
        for bomb in bombs(ran):
            written(beaker, bomb)
            written(beaker, base64.b64encode(bomb).decode())
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            for inner in {"user": "ada", "bomb": Bomb(ran)}, [Bomb(ran)]:
                written(beaker, pickle.dumps({"session": inner}, protocol))
        beaker.visit(lambda session: (session.update(user="eve", bomb=Bomb(ran)), session.save()))
        count = len(beaker.files)
        told = import_all("--json")
        assert (told.code, told.json["refused"], told.json["created"]) == (9, count, 0)
        assert not ran.exists()
        assert imported() == {}
        # It would have gone off.
        beaker.visit(lambda session: dict(session), beaker.browser())
        pickle.loads(bombs(ran)[0])
        assert ran.exists()

    def test_expired_ones_and_empty_ones(self, beaker, import_all, imported):
        written(beaker, packed(aged(user="ada", _accessed_time=time.time() - 3700)))
        beaker.visit(lambda session: (session.get("user"), session.save()))
        browser = beaker.log_in(user="eve")
        beaker.visit(lambda session: session.delete(), browser)
        told = import_all("--json")
        assert told.code == 0
        assert told.json == {
            "created": 0,
            "existing": 0,
            "expired": 1,
            "empty": 2,
            "refused": 0,
            "dry_run": False,
        }
        assert imported() == {}
        assert import_all(timeout=4000).out.startswith("1 session imported")

    def test_caches_are_left_alone(self, beaker, import_all):
        cache = CacheManager(type="file", data_dir=str(beaker.directory)).get_cache("things")
        cache.put("a", "precious")
        beaker.log_in(user="ada")
        assert import_all().out == (
            "1 session imported, 0 there already, 0 expired, 0 empty, 0 refused\n"
        )
        assert cache.get("a") == "precious"
        assert len(beaker.files) == 1

    def test_what_beaker_has_encrypted(self, tmp_path, import_all):
        site = BeakerSite(tmp_path / "beaker", encrypt_key="k" * 20, validate_key="v" * 20)
        site.log_in(user="ada")
        told = import_all()
        assert told.code == Exit.BAD_LINE
        assert "is encrypted by Beaker's encrypt_key" in told.err
        assert "make it with --create, and the key in LITESESS_ENCRYPTION_KEY" in told.err

    def test_an_encrypt_key_that_the_import_was_not_given_is_asked_for(
        self, tmp_path, beaker, import_all, monkeypatch
    ):
        beaker.log_in(user="ada")
        assert import_all().code == 0
        config = {"session.secret": SECRET, "session.encrypt_key": "correct horse battery"}
        with pytest.raises(
            DecryptError, match=r"is session\.encrypt_key: give it to `litesess imp"
        ):
            from_beaker(config, tmp_path / "data")
        beaker.log_in(user="bob")
        monkeypatch.setenv("LITESESS_ENCRYPTION_KEY", "correct horse battery")
        assert import_all(to=tmp_path / "new").code == 0
        assert len(from_beaker(config, tmp_path / "new")["store"]) == 1

    BAD = {
        "not base64 ä": "is encrypted",
        "": "is cut short",
        base64.b64encode(zlib.compress(b"{")).decode(): "can't be read as JSON",
        base64.b64encode(zlib.compress(b"\xff")).decode(): "can't be read as JSON",
        base64.b64encode(zlib.compress(b"[" * 100_000)).decode(): "can't be read as JSON",
        base64.b64encode(zlib.compress(b"{}")[:-3]).decode(): "is cut short",
        base64.b64encode(zlib.compress(b"0" * 20_000_000)).decode(): "or larger than any session",
        packed([1]): "holds no session of Beaker's",
        packed({"x": float("nan")}): "session value x is nan",
        packed({"x": "\ud800"}): "has a lone surrogate",
        packed({"x": "y" * 2_000_000}): "limit",
        packed({"x": 1, "_accessed_time": "now"}): "no instant as its _accessed_time",
        packed({"x": 1, "_accessed_time": True}): "no instant as its _accessed_time",
        packed({"x": 1, "_accessed_time": 10**400}): "no instant as its _accessed_time",
        packed({"x": 1, "_creation_time": float("inf")}): "no instant as its _creation_time",
        5: "holds no session of Beaker's",
        b"": "is damaged before byte 0",
        pickle.dumps([1]): "holds no session of Beaker's",
        pickle.dumps({"session": {1: 2}}): "has a key of type int",
        b"\x80" * (1 << 22): "has 4194304 bytes or more",
    }

    @pytest.mark.parametrize(("values", "reason"), BAD.items(), ids=range(len(BAD)))
    def test_a_file_that_is_wrong_says_why_and_keeps_no_other_back(
        self, values, reason, beaker, import_all, imported
    ):
        path, key = written(beaker, values)
        _, good = written(beaker, packed(aged(user="ada")))
        told = import_all()
        check_refusal(told, key, reason, path)
        assert {*imported()} == {good}

    def test_a_link_and_a_pipe(self, beaker, import_all, tmp_path):
        path, _ = written(beaker, packed(aged(user="ada")))
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
        os.mkfifo(path.with_name(f"{uuid4().hex}.cache"))
        assert import_all("--json").json["refused"] == 2

    def test_no_file_cut_short_is_more_than_refused(self, beaker, import_all):
        beaker.log_in(user="ada", **TYPED)
        (path,) = beaker.files
        check_cut_files(path.read_bytes(), lambda content: written(beaker, content), import_all)


class TestAgain:
    def test_imports_nothing_twice(self, beaker, import_all, imported):
        beaker.log_in(user="ada")
        import_all()
        before = imported()
        again = import_all()
        assert again.out.startswith("0 sessions imported, 0 there already")
        assert {*imported()} == {*before}

    def test_brings_nobody_back_who_has_logged_out_since(
        self, beaker, import_all, imported, tmp_path
    ):
        browser = beaker.log_in(user="ada")
        import_all()
        with WALStore(tmp_path / "data") as store:
            assert store.delete(key_of(id_of(browser)))
        beaker.log_in(user="eve")
        assert import_all().out.startswith("1 session imported")
        assert [record.data["user"] for record in imported().values()] == ["eve"]

    def test_writes_over_nothing(self, beaker, import_all, imported, tmp_path):
        path, key = written(beaker, packed(aged(user="before")))
        with WALStore(tmp_path / "data") as store:
            store.create(key, Record({"user": "now"}, 1.0, time.time() + 100))
        assert import_all("--json").json["existing"] == 1
        assert imported()[key].data == {"user": "now"}
        assert not path.exists()

    def test_the_files_are_kept_for_the_way_back(self, beaker, import_all):
        browser = beaker.log_in(user="ada")
        import_all()
        (kept,) = beaker.directory.glob("container_file/?/??/*")
        assert kept.name == f"{id_of(browser)}.cache.imported"
        kept.rename(kept.with_name(f"{id_of(browser)}.cache"))
        found = []
        beaker.visit(lambda session: found.append(session["user"]), browser)
        assert found == ["ada"]

    @pytest.mark.parametrize("error", [StoreFull("no room"), Stopped(15), OSError(5, "broken")])
    def test_a_file_that_was_not_imported_keeps_its_name(
        self, error, beaker, import_all, monkeypatch
    ):
        beaker.log_in(user="ada")
        beaker.log_in(user="eve")
        before, create = beaker.files, WALStore.create

        def fail(self, key, record):
            monkeypatch.setattr(WALStore, "create", failing)
            return create(self, key, record)

        def failing(_store, _key, _record):
            raise error

        monkeypatch.setattr(WALStore, "create", fail)
        assert import_all().code in (Exit.FULL, Exit.TERMINATED, Exit.FAILED)
        assert beaker.files == before[1:]
        monkeypatch.setattr(WALStore, "create", create)
        assert import_all("--json").json["created"] == 1

    def test_a_dry_run_changes_nothing(self, beaker, import_all, tmp_path):
        beaker.log_in(user="ada")
        beaker.log_in(account=Account("ada"))
        before = {path: path.read_bytes() for path in beaker.files}
        told = import_all("--dry-run")
        assert told.out == "1 session to import, 0 there already, 0 expired, 0 empty, 1 refused\n"
        assert told.code == Exit.BAD_LINE
        assert {path: path.read_bytes() for path in beaker.files} == before
        assert not (tmp_path / "data").exists()


class TestPlaces:
    def test_a_directory_without_sessions_makes_no_store(self, import_all, tmp_path):
        (tmp_path / "beaker").mkdir()
        for source in tmp_path / "beaker", tmp_path / "missing":
            told = import_all(source=source)
            assert told.code == Exit.PATH
            assert told.err == (
                f"litesess: {source}: has no sessions of Beaker's; give its data_dir\n"
            )
        assert not (tmp_path / "data").exists()

    def test_dbm_sessions_are_refused(self, tmp_path, import_all):
        site = BeakerSite(tmp_path / "beaker", type="dbm")
        site.log_in(user="ada")
        told = import_all()
        assert told.code == Exit.PATH
        assert "has sessions in dbm files, which can't be imported" in told.err

    def test_a_store_that_is_not_there_is_not_made_unasked(self, beaker, cli, tmp_path):
        beaker.log_in(user="ada")
        told = cli("import-beaker", "--timeout", 60, tmp_path / "data", beaker.directory)
        assert (told.code, (tmp_path / "data").exists()) == (Exit.PATH, False)
        assert len(beaker.files) == 1

    def test_beaker_s_timeout_must_be_told(self, beaker, cli, tmp_path):
        told = cli("import-beaker", tmp_path / "data", beaker.directory)
        assert told.code == Exit.USAGE
        assert "--timeout" in told.err

    def test_a_directory_that_can_t_be_changed_is_named_and_no_id(
        self, beaker, import_all, imported, monkeypatch, tmp_path
    ):
        browser = beaker.log_in(user="ada")

        def rename(path, _target):
            raise OSError(errno.EROFS, "Read-only file system", str(path))

        monkeypatch.setattr(Path, "rename", rename)
        told = import_all()
        assert told.code == Exit.PATH
        assert told.err == (
            f"litesess: {beaker.directory}/container_file: can't rename a file:"
            " Read-only file system\n"
        )
        assert id_of(browser) not in told.err
        assert imported() == {}

    def test_a_file_that_can_t_be_read_is_named_by_handle(self, beaker, import_all, monkeypatch):
        browser = beaker.log_in(user="ada")
        real = os.open

        def refuse(path, *arguments, **options):
            if str(path).endswith(".cache"):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return real(path, *arguments, **options)

        monkeypatch.setattr(os, "open", refuse)
        told = import_all()
        assert told.code == Exit.BAD_LINE
        assert f"{handle_of(key_of(id_of(browser)))} is not imported: can't be read" in told.err
        assert id_of(browser) not in told.err

    def test_other_collections_stay_as_they_are(self, beaker, import_all, tmp_path):
        fill(tmp_path / "data", collection="carts")
        before = content(tmp_path / "data")
        beaker.log_in(user="ada")
        assert import_all().code == 0
        assert content(tmp_path / "data").items() >= before.items()


@pytest.mark.slow
@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGTERM, marks=pytest.mark.long), signal.SIGKILL],
    ids=lambda number: number.name,
)
def test_stopped_at_any_moment_it_brings_over_each_session_once(number, beaker, imported, tmp_path):
    """By a kill, the one session that is in hand may be neither here nor there."""
    ids = [uuid4().hex for _ in range(1500)]
    for session_id in ids:
        written(beaker, packed(aged(user=session_id)), session_id)
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    codes = []
    command = ["import-beaker", "--create", "--timeout", 3600, tmp_path / "data", beaker.directory]
    for stops in range(1, 7):
        before = len(beaker.files)
        with start(*command) as process:
            if stops < 6:
                wait_until(
                    lambda process=process, before=before: (
                        len(beaker.files) < before or process.poll() is not None
                    ),
                    "it begins",
                )
                # No condition to wait for: any moment from then on will do.
                with suppress(subprocess.TimeoutExpired):
                    process.wait(rng.random() / 10)
                process.send_signal(number)
            process.communicate(timeout=PATIENCE)
        codes.append(process.returncode)
        # The first kill may come before there is a store.
        there = {*imported()} if any((tmp_path / "data").glob("*.wal")) else set()
        waiting = {key_of(path.stem) for path in beaker.files}
        assert not there & waiting
        lost = len(ids) - len(there) - len(waiting)
        assert 0 <= lost <= (stops if number == signal.SIGKILL else 0)
    print(codes, lost)
    assert beaker.files == []
    assert any(codes)
    assert codes[-1] == 0
