"""import-flask-session: real Flask-Session's files are imported once, and nothing there is run."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import struct
import time
import warnings
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest
from flask import Flask
from flask_session import Session
from markupsafe import Markup

from litesess import Record, StoreFull, WALStore
from litesess.cli.exits import Exit
from litesess.flask_session import files
from litesess.flask_session.names import key_of_name, names_of
from litesess.ids import handle_of
from litesess.integrations.flask.session import OWNER_KEY, PERMANENT
from litesess.web import ManagerOptions
from tests.tools.flask_sessions import FlaskSessionSite, cookie_of, key_of_client
from tests.tools.imports import check_cut_files, check_refusal
from tests.web.test_cves import Bomb, bombs

TYPED = {
    "when": datetime(2026, 1, 31, tzinfo=timezone.utc),
    "price": Decimal("1.50"),
    "uuid": uuid4(),
    "raw": b"\x00\xff",
    "_flashes": [("message", "hello"), ("html", Markup("<b>hello</b>"))],
    "roles": {"admin", "editor"},
    "nested": {"é": [None, 1, 2.5, True]},
}
ALL_DONE = "1 session imported, 0 there already, 0 expired, 0 empty, 0 refused\n"


class Account:
    """A class of an app, with objects in its sessions."""


@pytest.fixture
def site(tmp_path):
    return FlaskSessionSite(tmp_path / "old")


@pytest.fixture
def import_all(cli, tmp_path):
    """Return a function that imports Flask-Session's sessions into the store ``data``."""

    def run(*options, source=tmp_path / "old", to=tmp_path / "data"):
        return cli("import-flask-session", "--create", *options, to, source)

    return run


@pytest.fixture
def imported(tmp_path):
    """Return a function that returns the imported sessions by key."""

    def read():
        with WALStore(tmp_path / "data", read_only=True) as store:
            return dict(store.records())

    return read


def written(site, values, name=None, *, end=None):
    """Write a file as cachelib does, with any content; return it and its session's key."""
    name = name or hashlib.sha256(os.urandom(16)).hexdigest()
    head = struct.pack("I", int(time.time()) + 3600) if end is None else end
    body = values if isinstance(values, bytes) else pickle.dumps(values, 5)
    path = site.directory / name
    path.write_bytes(head + body)
    return path, key_of_name(name)


class TestWhatComesOver:
    @pytest.mark.parametrize(("number", "method"), [(0, hashlib.sha256), (1, hashlib.md5)])
    def test_a_login_with_its_owner_and_its_times(
        self, number, method, tmp_path, import_all, imported
    ):
        site = FlaskSessionSite(tmp_path / "old", method, PERMANENT_SESSION_LIFETIME=7200)
        before = time.time()
        browser = site.log_in("ada")
        assert import_all() == (0, ALL_DONE, "")
        ((key, record),) = imported().items()
        assert key == key_of_client(browser, number)
        assert record.owner == record.data["_user_id"] == "ada"
        assert record.data["_fresh"] is record.data["_permanent"] is True
        assert before - 1 <= record.created_at == record.last_seen_at <= time.time()
        assert before + 7198 <= record.expires_at <= time.time() + 7200

    def test_from_the_type_filesystem_too(self, tmp_path, import_all, imported):
        app = Flask("shop")
        app.config.update(SESSION_TYPE="filesystem", SESSION_FILE_DIR=str(tmp_path / "old"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            Session(app)
        with app.test_client().session_transaction() as session:
            session["cart"] = [1]
        assert import_all().out == ALL_DONE
        ((_, record),) = imported().items()
        assert (record.data, record.owner) == ({"cart": [1], "_permanent": True}, None)

    def test_the_types_that_litesess_has(self, site, import_all, imported):
        site.keep(**TYPED)
        assert import_all().code == 0
        ((_, record),) = imported().items()
        assert record.data == {**TYPED, "_permanent": True}
        assert type(record.data["_flashes"][1][1]) is Markup

    @pytest.mark.parametrize("protocol", [1, 4, 5])
    def test_files_of_old_versions_of_cachelib(self, protocol, site, import_all, imported):
        end = int(time.time()) + 600
        _, key = written(site, {"user": "ada"}, end=pickle.dumps(end, protocol))
        assert import_all().out == ALL_DONE
        assert imported()[key].expires_at == end

    def test_the_owner_is_under_the_key_that_is_named(self, site, import_all, imported):
        site.keep(user=5)
        site.keep(user=["no", "owner"])
        site.keep(user="")
        assert import_all("--owner-key", "user").code == 0
        assert sorted(str(record.owner) for record in imported().values()) == ["5", "None", "None"]

    def test_the_large_ones_with_a_warning(self, site, import_all, imported):
        """The app read such a session, and answered each change of it with an error 500."""
        limit = ManagerOptions.max_session_bytes
        for size in limit - 50, limit + 1:
            site.keep(text="x" * size)
        told = import_all()
        assert told.out == "2 sessions imported, 0 there already, 0 expired, 0 empty, 0 refused\n"
        assert told.err == (
            f"litesess: warning: sessions with more than {limit} bytes: 1; each change of one is an"
            " error, unless the app's max_session_bytes is larger\n"
        )
        assert len(imported()) == 2

    def test_no_session_was_seen_later_than_now(self, site, import_all, imported):
        path, key = written(site, {"user": "ada"})
        os.utime(path, (time.time() + 1e6, time.time() + 1e6))
        import_all()
        assert imported()[key].created_at <= imported()[key].last_seen_at <= time.time()

    def test_the_keys_are_those_of_the_integration(self):
        assert (files.OWNER_KEY, files.PERMANENT) == (OWNER_KEY, PERMANENT)


class TestSessionsWithoutAnEnd:
    @pytest.mark.parametrize("end", [struct.pack("I", 0), pickle.dumps(0, 1), pickle.dumps(0, 5)])
    def test_are_refused_with_the_cure(self, end, site, import_all, imported):
        path, key = written(site, {"user": "ada"}, end=end)
        told = import_all()
        assert told.code == Exit.BAD_LINE
        assert "is not imported: has no end; give --timeout, its life in seconds" in told.err
        os.utime(path, (time.time() - 60, time.time() - 60))
        assert import_all("--timeout", 100).out == ALL_DONE
        record = imported()[key]
        assert record.expires_at == record.last_seen_at + 100 < time.time() + 41

    def test_a_lifetime_of_0_makes_them(self, tmp_path, import_all):
        FlaskSessionSite(tmp_path / "old", PERMANENT_SESSION_LIFETIME=0).keep(user="ada")
        assert "has no end" in import_all().err

    def test_the_option_changes_no_other(self, tmp_path, import_all, imported):
        FlaskSessionSite(tmp_path / "old", PERMANENT_SESSION_LIFETIME=7200).log_in("ada")
        import_all("--timeout", 100)
        assert next(iter(imported().values())).expires_at > time.time() + 7000


class TestWhatDoesNot:
    def test_objects_are_named_by_handle_and_stay_where_they_are(self, site, import_all, imported):
        site.log_in("ada")
        browser = site.keep(account=Account())
        told = import_all()
        assert told.code == Exit.BAD_LINE
        assert told.out == "1 session imported, 0 there already, 0 expired, 0 empty, 1 refused\n"
        handle = handle_of(key_of_client(browser))
        assert told.err == (
            f"litesess: warning: {handle} is not imported: holds {__name__}.Account\n"
        )
        assert len(imported()) == 1
        assert len(site.files) == 1

    def test_no_pickle_is_run(self, site, import_all, imported, tmp_path):
        ran = tmp_path / "ran"
        for bomb in bombs(ran):
            written(site, bomb)
            written(site, {"user": "ada"}, end=bomb)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            for inner in {"user": "ada", "bomb": Bomb(ran)}, {"_user_id": Bomb(ran)}, [Bomb(ran)]:
                written(site, pickle.dumps(inner, protocol))
        browser = site.keep(user="eve", bomb=Bomb(ran))
        count = len(site.files)
        told = import_all("--json")
        assert (told.code, told.json["refused"], told.json["created"]) == (9, count, 0)
        assert not ran.exists()
        assert imported() == {}
        # It would have gone off.
        browser.get("/look")
        assert ran.exists()

    def test_expired_ones_and_visitors_without_a_value(self, site, import_all, imported):
        path, _ = written(site, {"user": "ada"}, end=struct.pack("I", int(time.time()) - 5))
        written(site, {"_permanent": True})
        written(site, {})
        told = import_all("--json")
        assert told.json | {"code": told.code} == {
            "created": 0,
            "existing": 0,
            "expired": 1,
            "empty": 2,
            "refused": 0,
            "dry_run": False,
            "code": 0,
        }
        assert imported() == {}
        assert path.exists()

    def test_the_files_of_cachelib_s_own(self, site, import_all):
        site.log_in("ada")
        (site.directory / "tmpabcdefgh.__wz_cache").write_bytes(b"half")
        counts = [site.directory / name for name in names_of("__wz_cache_count")]
        assert any(path.exists() for path in counts)
        assert import_all().out == ALL_DONE
        assert any(path.exists() for path in counts)
        assert (site.directory / "tmpabcdefgh.__wz_cache").exists()

    BAD = [
        (b"\x80\x05", "is damaged before byte"),
        (b"", "is no file of cachelib's, or cut short"),
        (b"\x85\xa4user\xa3ada", "is no file of cachelib's"),  # msgpack
        (b'{"user": "ada"}', "is no file of cachelib's"),
        ([1], "holds no session of Flask-Session's"),
        (5, "holds no session of Flask-Session's"),
        ({1: 2}, "has a key of type int"),
        ({"x": float("nan")}, "session value x is nan"),
        ({"x": "\ud800"}, "has a lone surrogate"),
        ({"x": "y" * 2_000_000}, "limit"),
        (b"\x80" * (1 << 22), "has 4194304 bytes or more"),
    ]

    @pytest.mark.parametrize(("values", "reason"), BAD, ids=range(len(BAD)))
    def test_a_file_that_is_wrong_says_why_and_keeps_no_other_back(
        self, values, reason, site, import_all, imported
    ):
        path, key = written(site, values)
        _, good = written(site, {"user": "ada"})
        told = import_all()
        check_refusal(told, key, reason, path)
        assert {*imported()} == {good}

    def test_a_link_a_pipe_and_a_directory(self, site, import_all, imported, tmp_path):
        path, _ = written(site, {"user": "ada"})
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
        os.mkfifo(path.with_name("0" * 64))
        path.with_name("1" * 64).mkdir()
        assert import_all("--json").json["refused"] == 3
        assert imported() == {}
        assert path.is_symlink()

    def test_a_directory_in_the_way_keeps_no_other_file_back(self, site, import_all, imported):
        """It ended the import at that file."""
        path, key = written(site, {"user": "ada"}, "0" * 64)
        _, other = written(site, {"user": "eve"}, "1" * 64)
        path.with_name(f"{path.name}.imported").mkdir()
        told = import_all()
        assert told.code == Exit.BAD_LINE
        assert told.err == (
            f"litesess: warning: {handle_of(key)} is not imported: can't be renamed: a directory"
            " has the new name of the file\n"
        )
        assert {*imported()} == {other}

    def test_a_directory_is_not_kept_open(self, tmp_path):
        before = os.listdir("/proc/self/fd")
        with pytest.raises(files.Refused, match="is no file") as refused:
            files.content_of(tmp_path)
        assert len(os.listdir("/proc/self/fd")) == len(before)
        del refused  # it holds the frames

    def test_no_file_cut_short_is_more_than_refused(self, site, import_all):
        site.keep(**TYPED)
        (path,) = site.files
        check_cut_files(
            path.read_bytes(),
            lambda content: written(site, content[4:], end=content[:4]),
            import_all,
        )

    def test_a_file_that_is_deleted_meanwhile_is_left_out(
        self, site, import_all, imported, monkeypatch
    ):
        for name in "ada", "bob", "eve":
            site.log_in(name)
        read, unread, other = site.files
        real = files.content_of

        def content_of(path):
            if path == unread:
                path.unlink()
            content = real(path)
            if path == read:
                path.unlink()
            return content

        monkeypatch.setattr(files, "content_of", content_of)
        told = import_all()
        assert told.code == Exit.BAD_LINE
        for path, reason in (read, "is gone: another process"), (unread, "can't be read: No such"):
            handle = handle_of(key_of_name(path.name))
            assert f"{handle} is not imported: {reason}" in told.err
        assert {*imported()} == {key_of_name(other.name)}


class TestAgain:
    def test_brings_nobody_back_who_has_logged_out_since(
        self, site, import_all, imported, tmp_path
    ):
        browser = site.log_in("ada")
        import_all()
        with WALStore(tmp_path / "data") as store:
            assert store.delete(key_of_client(browser))
        site.log_in("eve")
        assert import_all().out == ALL_DONE
        assert [record.owner for record in imported().values()] == ["eve"]
        assert import_all().out.startswith("0 sessions imported, 0 there already")

    def test_writes_over_nothing(self, site, import_all, imported, tmp_path):
        path, key = written(site, {"user": "before"})
        with WALStore(tmp_path / "data") as store:
            store.create(key, Record({"user": "now"}, 1.0, time.time() + 100))
        assert import_all("--json").json["existing"] == 1
        assert imported()[key].data == {"user": "now"}
        assert not path.exists()

    def test_the_files_are_kept_for_the_way_back(self, site, import_all):
        browser = site.log_in("ada")
        import_all()
        (kept,) = site.directory.glob("*.imported")
        assert site.files == []
        kept.rename(kept.with_suffix(""))
        assert browser.get("/me").text == "ada"

    def test_a_file_that_was_not_imported_keeps_its_name(self, site, import_all, monkeypatch):
        site.log_in("ada")
        before = site.files

        def failing(_store, _key, _record):
            raise StoreFull("no room")

        with monkeypatch.context() as patched:
            patched.setattr(WALStore, "create", failing)
            assert import_all().code == Exit.FULL
        assert site.files == before
        assert import_all().out == ALL_DONE

    def test_a_dry_run_changes_nothing(self, site, import_all, tmp_path):
        site.log_in("ada")
        site.keep(account=Account())
        before = {path: path.read_bytes() for path in site.directory.iterdir()}
        told = import_all("--dry-run")
        assert told.out == "1 session to import, 0 there already, 0 expired, 0 empty, 1 refused\n"
        assert told.code == Exit.BAD_LINE
        assert {path: path.read_bytes() for path in site.directory.iterdir()} == before
        assert not (tmp_path / "data").exists()


class TestNamesOfTwoHashes:
    """An update of cachelib changed the hash, and the sessions from before stayed in their files.

    Flask-Session did not read them any more, and the import brought them back.
    """

    @pytest.mark.parametrize(
        "methods", [(hashlib.md5, hashlib.sha256), (hashlib.sha256, hashlib.md5)]
    )
    def test_only_those_that_cachelib_makes_now_come_over(
        self, methods, tmp_path, import_all, imported
    ):
        for method, user in zip(methods, ("ada", "eve"), strict=True):
            site = FlaskSessionSite(tmp_path / "old", method)
            site.log_in(user)
            for path in tmp_path.glob("old/*") if user == "ada" else ():
                os.utime(path, (time.time() - 9, time.time() - 9))
        for _ in range(2):  # the second import takes none of them for new
            told = import_all()
            assert [record.owner for record in imported().values()] == ["eve"]
            assert told.code == 0
            assert told.err == (
                "litesess: warning: 1 file left out, with names of another hash than cachelib uses"
                " now, so that Flask-Session has not honoured their sessions either; to import them"
                " all the same, move them to another directory\n"
            )


class TestPlaces:
    def test_a_directory_without_sessions_makes_no_store(self, import_all, tmp_path):
        (tmp_path / "old").mkdir()
        (tmp_path / "old" / "notes.txt").write_text("x")
        for source in tmp_path / "old", tmp_path / "missing", tmp_path / "old" / "notes.txt":
            told = import_all(source=source)
            assert told.code == Exit.PATH
            assert told.err == (
                f"litesess: {source}: has no sessions of Flask-Session's; give its"
                " SESSION_FILE_DIR, or the directory of its FileSystemCache\n"
            )
        assert not (tmp_path / "data").exists()

    def test_a_store_that_is_not_there_is_not_made_unasked(self, site, cli, tmp_path):
        site.log_in("ada")
        told = cli("import-flask-session", tmp_path / "data", site.directory)
        assert (told.code, (tmp_path / "data").exists()) == (Exit.PATH, False)
        assert len(site.files) == 1

    def test_a_directory_that_can_t_be_changed_is_named_and_no_id(
        self, site, import_all, imported, monkeypatch
    ):
        browser = site.log_in("ada")
        (path,) = site.files

        def rename(path, _target):
            raise OSError(errno.EROFS, "Read-only file system", str(path))

        monkeypatch.setattr(Path, "rename", rename)
        told = import_all()
        assert told.code == Exit.PATH
        assert told.err == (
            f"litesess: {site.directory}: can't rename a file: Read-only file system\n"
        )
        assert path.name not in told.err
        assert cookie_of(browser) not in told.err
        assert imported() == {}
