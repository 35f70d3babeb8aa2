"""Root acts as the owner of the store: no file of root's comes to lie there."""

from __future__ import annotations

import os
import signal
import stat
import tempfile
from pathlib import Path

import pytest
from commands import fill, run, start
from servers import wait_until

from litesess.cli.exits import Exit
from litesess.cli.owner import Identity, acting_as, acting_as_operator, owner_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

#: Nobody that is known here, and the group of the directory's.
SOMEBODY = Identity(54321, 54322, [54322])
ANYBODY = Identity(65534, 65534, [65534])


@pytest.fixture
def place():
    """Return a directory that anybody may enter, with a store of somebody's in it."""
    # Not pytest's own: each run of it makes those of all runs private again.
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o711)
        (directory / "data").mkdir(0o700)
        os.chown(directory / "data", *SOMEBODY[:2])
        with acting_as(SOMEBODY):
            fill(directory / "data")
        yield directory


def owners(path):
    """Return who owns a directory and what is in it."""
    found = [path, *path.iterdir()]
    return {(each.stat().st_uid, each.stat().st_gid) for each in found}


def test_the_owner_has_no_rights_of_root_s(place):
    assert owner_of(str(place / "data")) == SOMEBODY
    with acting_as(SOMEBODY):
        assert (os.geteuid(), os.getegid(), os.getgroups()) == SOMEBODY
        with acting_as_operator():
            assert os.geteuid() == 0
        assert (os.geteuid(), os.getegid(), os.getgroups()) == SOMEBODY
    assert os.geteuid() == 0


def test_a_user_that_is_known_comes_with_the_groups_it_has(tmp_path):
    os.chown(tmp_path, 1, 2)  # daemon, whose own group is another than the directory's
    owner = owner_of(str(tmp_path))
    assert (owner.uid, owner.gid) == (1, 1)
    assert 1 in owner.groups


def test_a_directory_that_is_missing_will_be_of_who_owns_the_one_above(place):
    assert owner_of(str(place / "data" / "deep" / "down")) == SOMEBODY
    assert owner_of(str(place)) is None


@pytest.mark.parametrize("command", ["compact", "gc", "revoke", "import", "stats", "verify"])
def test_what_a_command_makes_is_the_owner_s(command, place):
    arguments = {"revoke": ["--all"], "import": [place / "in"]}.get(command, [])
    (place / "in").write_text("")
    (place / "in").chmod(0o600)  # read by root, as whom it was named
    assert run(command, place / "data", *arguments).code == 0
    assert owners(place / "data") == {SOMEBODY[:2]}


def test_a_backup_is_the_owner_s_and_an_export_root_s(place):
    told = run("backup", place / "data", place / "copy")
    assert told.code == 0, told.err
    assert owners(place / "copy") == {SOMEBODY[:2]}
    assert stat.S_IMODE((place / "copy").stat().st_mode) == 0o700
    private = place / "private"
    private.mkdir(0o700)
    assert run("export", place / "data", private / "out").code == 0
    assert owners(private) == {(0, os.getegid())}


def test_a_salvage_is_the_owner_s(place):
    told = run("salvage", place / "data", place / "new")
    assert told.code == 0, told.err
    assert owners(place / "new") == {SOMEBODY[:2]}


def test_a_store_that_import_makes_is_of_who_owns_the_directory_above(place):
    (place / "in").write_text("")
    above = place / "srv"
    above.mkdir()
    os.chown(above, *SOMEBODY[:2])
    # Nothing in it, so nothing is made but the lock files: those must be somebody's, too.
    told = run("import", "--create", above / "data", place / "in")
    assert told.code == 0, told.err
    assert owners(above / "data") == {SOMEBODY[:2]}


def test_sessions_of_beaker_s_are_brought_over_by_the_owner_alone(place):
    session = place / "beaker" / "container_file" / "a" / "aa" / f"{'a' * 32}.cache"
    session.parent.mkdir(parents=True)
    session.write_bytes(b"\x80\x04N.")
    session.chmod(0o600)
    arguments = ["--timeout", 60, place / "data", place / "beaker"]
    told = run("import-beaker", *arguments)  # root could read it
    assert told.code == Exit.BAD_LINE
    assert "is not imported: can't be read: Permission denied" in told.err
    session.parent.chmod(0o700)
    told = run("import-beaker", *arguments)
    assert told.code == Exit.PATH
    assert told.err == f"litesess: {session.parent}: Permission denied\n"
    for path in session.parent, session:
        os.chown(path, *SOMEBODY[:2])
    told = run("import-beaker", *arguments)
    assert told.code == Exit.BAD_LINE
    assert "holds no session of Beaker's" in told.err
    assert owners(place / "data") == {SOMEBODY[:2]}


def test_a_key_file_of_root_s_is_read(place):
    key = place / "key"
    key.write_text("correct horse battery")
    key.chmod(0o600)
    with acting_as(SOMEBODY):
        fill(place / "data", collection="secret", encryption_key="correct horse battery")
    told = run("stats", place / "data", "--collection", "secret", "--key-file", key)
    assert told.code == 0, told.err


def test_a_backup_where_the_owner_can_t_go_leaves_nothing(place):
    private = place / "private"
    private.mkdir(0o700)
    told = run("backup", place / "data", private / "copy")
    assert told.code == Exit.PATH
    assert f"{private}/copy: Permission denied" in told.err
    assert told.err.count("\n") == 1
    assert [*private.iterdir()] == []


def test_a_backup_that_is_stopped_leaves_nothing(place):
    with start("backup", place / "data", place / "copy") as process:
        wait_until(lambda: (place / "copy").exists() or process.poll() is not None, "it begins")
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert (place / "copy").exists() == (process.returncode == 0)


def test_anybody_else_is_refused_in_one_line(cli, place):
    (place / "data").chmod(0o755)
    with acting_as(ANYBODY):
        told = cli("stats", place / "data")
    assert (told.code, told.out) == (Exit.PATH, "")
    assert "belongs to uid 54321" in told.err
    assert told.err.count("\n") == 1


def test_a_directory_that_can_t_be_read_is_named(cli, place):
    with acting_as(ANYBODY):
        told = cli("stats", place / "data")
    assert told == (
        Exit.PATH,
        "",
        f"litesess: {place}/data: Permission denied; this is uid 65534\n",
    )
