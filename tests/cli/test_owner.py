"""Root becomes the owner of the store, for good: no file of root's comes to lie there."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from litesess.cli.exits import Exit
from litesess.cli.owner import Identity, _load_modules
from tests.tools.commands import LITESESS, content, environment, fill, run, start
from tests.tools.redises import needs_redis, redis_server
from tests.tools.servers import PATIENCE, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

#: Nobody that is known here, and the group of the directory's.
SOMEBODY = Identity(54321, 54322, [54322])
ANYBODY = Identity(65534, 65534, [65534])
TENANT = Identity(54399, 54399, [54399])


@contextmanager
def acting_as(identity):
    """Have the rights of another user in the block."""
    _load_modules()  # before they can't be read any more
    former = os.getgroups()
    os.setgroups(identity.groups)
    os.setegid(identity.gid)
    os.seteuid(identity.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(os.getgid())
        os.setgroups(former)


@pytest.fixture
def place():
    """Return a directory that anybody may enter, with a store of somebody's in it."""
    # Not pytest's own: each run of it makes those of all runs private again.
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o711)
        (directory / "data").mkdir(0o700)
        os.chown(directory / "data", *SOMEBODY[:2])
        (directory / "srv").mkdir(0o700)
        os.chown(directory / "srv", *SOMEBODY[:2])
        with acting_as(SOMEBODY):
            fill(directory / "data")
        yield directory


@contextmanager
def watching(*arguments):
    """Run stats until the end of the block; have what the system says of the process."""
    with start("stats", "--json", "--watch", *arguments) as process:
        try:
            assert process.stdout.readline(), process.communicate()[1]
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            facts = dict(line.split(":", 1) for line in lines)
            yield process, {name: [*map(int, facts[name].split())] for name in IDS}
        finally:
            process.kill()
            process.communicate()


IDS = ("Uid", "Gid", "Groups")


def owners(path):
    """Return who owns a directory and what is in it."""
    found = [path, *path.iterdir()]
    return {(each.stat().st_uid, each.stat().st_gid) for each in found}


def test_root_becomes_the_owner_and_can_t_come_back(place):
    with watching(place / "data") as (_, ids):
        # Real, effective, saved, and that of the file system.
        assert ids == {"Uid": [54321] * 4, "Gid": [54322] * 4, "Groups": [54322]}


def test_root_stays_root_as_the_owner(tmp_path):
    fill(tmp_path)
    with watching(tmp_path) as (_, ids):
        assert ids["Uid"] == [0] * 4


def test_no_other_process_of_the_owner_can_read_what_the_command_knows(place):
    with watching(place / "data") as (process, _), acting_as(SOMEBODY):
        with pytest.raises(PermissionError):
            Path(f"/proc/{process.pid}/environ").read_bytes()
        with pytest.raises(PermissionError):
            os.open(f"/proc/{process.pid}/mem", os.O_RDONLY)


def test_a_user_that_is_known_comes_with_the_groups_it_has(place):
    owned_by(place / "data", 1, 2)  # daemon, whose own group is another than the directory's
    with watching(place / "data") as (_, ids):
        assert ids["Gid"] == [1] * 4
        assert 1 in ids["Groups"]
        assert 0 not in ids["Groups"]


def test_a_user_that_has_no_name_does_not_get_root_s_group(place):
    owned_by(place / "data", SOMEBODY.uid, 0)
    with watching(place / "data") as (_, ids):
        assert (ids["Gid"], ids["Groups"]) == ([65534] * 4, [65534])


def owned_by(path, uid, gid):
    for each in (path, *path.iterdir()):
        os.chown(each, uid, gid)


KEEPING = """
import ctypes, sys
NO_SETUID_FIXUP = 1 << 2
assert ctypes.CDLL(None).prctl(28, NO_SETUID_FIXUP, 0, 0, 0) == 0
from litesess.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_process_that_could_come_back_does_nothing(place):
    command = [sys.executable, "-c", KEEPING, "stats", str(place / "data")]
    told = subprocess.run(command, capture_output=True, env=environment(), timeout=PATIENCE)
    assert (told.returncode, told.stdout) == (Exit.PATH, b"")
    assert b"root has become uid 54321 and can still come back" in told.stderr


def test_a_link_of_another_user_is_not_followed(place):
    (place / "link").symlink_to(place / "data")
    os.chown(place / "link", *TENANT[:2], follow_symlinks=False)
    told = run("revoke", "--all", place / "link")
    assert (told.code, told.out) == (Exit.PATH, "")
    assert told.err == (
        f"litesess: {place}/link: the link link on the way belongs to uid 54399, and leads to a"
        " file of uid 54321; root does not follow it: give the path without the link\n"
    )
    assert run("stats", "--json", place / "data").json["live"] == 3


@pytest.mark.parametrize("owner", [Identity(0, 0, [0]), SOMEBODY])
def test_a_link_of_root_s_and_one_of_the_owner_s_are_followed(owner, place):
    (place / "deep").mkdir(0o711)
    (place / "deep" / "link").symlink_to("../current/")
    (place / "current").symlink_to(place / "." / "data")
    for link in place / "deep" / "link", place / "current":
        os.chown(link, *owner[:2], follow_symlinks=False)
    assert run("stats", "--json", place / "deep" / "link").json["live"] == 3
    assert run("gc", "deep/../current/.", cwd=place).code in (Exit.PATH, 0)


def test_links_in_a_circle_are_an_error(place):
    (place / "link").symlink_to("link")
    told = run("stats", place / "link")
    assert told.err == f"litesess: {place}/link: leads through too many links\n"


def test_a_file_is_no_store(place):
    (place / "file").touch()
    for path in place / "file", place / "file" / "data":
        told = run("stats", path)
        assert told == (Exit.PATH, "", f"litesess: {path}: Not a directory\n")


def test_what_is_imported_comes_by_no_link_of_another_user(place):
    (place / "secret").write_text("")
    (place / "secret").chmod(0o600)
    for name in "in", "key":
        (place / "srv" / name).symlink_to(place / "secret")
        os.chown(place / "srv" / name, *SOMEBODY[:2], follow_symlinks=False)
    told = run("import", place / "data", place / "srv" / "in")
    assert told.code == Exit.PATH
    assert "root does not follow it" in told.err
    told = run("stats", place / "data", "--key-file", place / "srv" / "key")
    assert "root does not follow it" in told.err


def test_a_pipe_of_the_shell_s_is_imported(place):
    command = 'true | "$@" /dev/stdin && true | "$@" <(true) && "$@" </dev/null'
    command = ["bash", "-c", command, "bash", *LITESESS, "import", str(place / "data")]
    told = subprocess.run(command, capture_output=True, env=environment(), timeout=PATIENCE)
    assert (told.returncode, told.stderr) == (0, b"")


@pytest.mark.parametrize("command", ["compact", "gc", "revoke", "import", "stats", "verify"])
def test_what_a_command_makes_is_the_owner_s(command, place):
    arguments = {"revoke": ["--all"], "import": [place / "in"]}.get(command, [])
    (place / "in").write_text("")
    (place / "in").chmod(0o600)  # read by root, as whom it was named
    assert run(command, place / "data", *arguments).code == 0
    assert owners(place / "data") == {SOMEBODY[:2]}


@pytest.mark.parametrize("command", ["backup", "salvage", "export"])
def test_what_a_command_puts_elsewhere_is_the_owner_s(command, place):
    told = run(command, place / "data", place / "srv" / "copy")
    assert told.code == 0, told.err
    assert owners(place / "srv") == {SOMEBODY[:2]}
    if command != "export":
        assert owners(place / "srv" / "copy") == {SOMEBODY[:2]}
        assert stat.S_IMODE((place / "srv" / "copy").stat().st_mode) == 0o700


def test_a_backup_goes_into_a_directory_that_root_has_made_for_the_owner(place):
    (place / "copy").mkdir(0o700)
    os.chown(place / "copy", *SOMEBODY[:2])
    assert run("backup", place / "data", place / "copy").code == 0
    assert owners(place / "copy") == {SOMEBODY[:2]}


def test_an_export_to_where_the_owner_can_t_write_is_refused(place):
    private = place / "private"
    private.mkdir(0o700)
    told = run("export", "--json", place / "data", private / "out")
    assert (told.code, told.out) == (Exit.PATH, "")
    assert told.err == (
        f"litesess: {private}/out: Permission denied to uid 54321, the owner of the store, and"
        " root works as that user; choose a directory that this user can write to, or let your"
        " shell make"
        f" the file: (umask 077; litesess export PATH > {private}/out)\n"
    )
    assert [*private.iterdir()] == []
    with (private / "out").open("w") as out:
        assert run("export", place / "data", "-", stdout=out).code == 0
    assert (private / "out").read_text().count("\n") == 3
    assert owners(private) == {(0, os.getegid())}


def test_a_copy_between_two_owners_is_refused(place):
    (place / "other").mkdir(0o700)
    os.chown(place / "other", *TENANT[:2])
    told = run("copy", "--create", f"wal:{place}/data", f"wal:{place}/other")
    assert (told.code, told.out) == (Exit.PATH, "")
    assert "the two directories belong to different users" in told.err
    assert "litesess export PATH | litesess import PATH" in told.err
    assert [*(place / "other").iterdir()] == []


def test_a_copy_is_the_owner_s(place):
    told = run("copy", "--create", f"wal:{place}/data", f"wal:{place}/srv/copy")
    assert told.code == 0, told.err
    assert owners(place / "srv" / "copy") == {SOMEBODY[:2]}


def test_a_store_that_import_makes_is_of_who_owns_the_directory_above(place):
    (place / "in").write_text("")
    above = place / "srv"
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


@pytest.mark.parametrize("options", [["--dry-run"], []])
def test_sessions_of_a_user_s_are_not_brought_to_a_store_of_root_s(options, place):
    """The app could not open that, and its user could make root read files of other users."""
    (place / "srv" / "3" / "3f").mkdir(parents=True)
    session = place / "srv" / "3" / "3f" / f"{'3f' * 16}.cache"
    session.write_bytes(b"\x80\x04N.")
    for command, name in ("import-flask-session", "0" * 64), ("import-beaker", session.name):
        (place / "srv" / name).touch()
        timeout = ["--timeout", 60]
        told = run(command, *options, *timeout, "--create", place / "new", place / "srv")
        assert (told.code, told.out) == (Exit.PATH, "")
        assert told.err == (
            f"litesess: {place}/srv: belongs to uid 54321, and the store to root; run the command"
            " as that user, or give a store whose directory, or the one above it, belongs to that"
            " user\n"
        )
    assert not (place / "new").exists()


@needs_redis
def test_sessions_of_a_user_s_are_brought_to_redis_by_that_user_alone(place, tmp_path):
    directory = place / "srv"
    for name in "0" * 64, "1" * 64:
        (directory / name).write_bytes(pickle.dumps(0, 5) + pickle.dumps({"user": name}, 5))
    os.chown(directory / ("0" * 64), *SOMEBODY[:2])
    (directory / ("1" * 64)).chmod(0o600)
    with redis_server(tmp_path) as server:
        address = f"{server.url}/0"
        options = ["--create", "--timeout", 60]
        told = run("import-flask-session", *options, address, directory)
    assert told.out == "1 session imported, 0 there already, 0 expired, 0 empty, 1 refused\n"
    assert "can't be read: Permission denied" in told.err


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
    assert told.err == (
        f"litesess: {private}/copy: Permission denied to uid 54321, the owner of the store, and"
        " root works as that user; choose a directory that this user can reach and write to, or"
        " make one"
        " for it as root: install -d -m 700 -o 54321 DIR\n"
    )
    assert told.err.count("\n") == 1
    assert [*private.iterdir()] == []


def test_a_backup_that_is_stopped_leaves_nothing(place):
    copy = place / "srv" / "copy"
    with start("backup", place / "data", copy) as process:
        wait_until(lambda: copy.exists() or process.poll() is not None, "it begins")
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert copy.exists() == (process.returncode == 0)


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


def test_sessions_of_beaker_s_are_only_looked_at_by_the_owner_too(place):
    session = place / "beaker" / "container_file" / "a" / "aa" / f"{'a' * 32}.cache"
    session.parent.mkdir(parents=True)
    session.write_bytes(b"\x80\x04N.")
    session.chmod(0o600)
    told = run("import-beaker", "--dry-run", "--timeout", 60, place / "data", place / "beaker")
    assert "is not imported: can't be read: Permission denied" in told.err


#: Runs a command, and has another user exchange two names just before it uses the first one for
#: the nth time.
EXCHANGING = """
import ctypes, os, sys
at, first, second, *command = sys.argv[1:]
libc, left = ctypes.CDLL(None), int(at)

def exchange():
    if os.geteuid() == 0:
        os.setgid(54322)
        os.setuid(54321)
    os._exit(libc.renameat2(-100, first.encode(), -100, second.encode(), 2))

def watch(event, arguments):
    global left
    if event in EVENTS and is_near(arguments[0]):
        left -= 1
        if left == 0:
            child = os.fork()
            if child == 0:
                exchange()
            os.waitpid(child, 0)

def is_near(path):
    return isinstance(path, (str, os.PathLike)) and str(path).startswith((first, "copy"))

EVENTS = {"open", *map("os.".__add__, "mkdir chown chmod listdir scandir remove rmdir".split())}
from litesess.cli import main
sys.addaudithook(watch)
code = main(command)
print("reached" if left <= 0 else "not reached")
sys.exit(code)
"""


def exchanging(at, first, second, *command):
    """Run a command, and exchange both names at a moment; return whether that was reached."""
    script = [sys.executable, "-c", EXCHANGING, str(at), str(first), str(second)]
    told = subprocess.run(
        [*script, *map(str, command)],
        capture_output=True,
        env=environment(),
        text=True,
        timeout=PATIENCE,
    )
    assert "Traceback" not in told.stderr
    return "not reached" not in told.stdout


def made_anew(place, target):
    """Have a link of somebody's to *target*, and no copy."""
    shutil.rmtree(place / "srv")
    (place / "srv").mkdir(0o700)
    os.chown(place / "srv", *SOMEBODY[:2])
    (place / "srv" / "link").symlink_to(target)
    os.chown(place / "srv" / "link", *SOMEBODY[:2], follow_symlinks=False)


#: Made and given away by the same code.
SALVAGE = pytest.param("salvage", marks=pytest.mark.long)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["backup", SALVAGE])
def test_no_file_of_root_s_changes_its_owner_whenever_names_are_exchanged(command, place):
    """Root made the directory and gave it to the owner of the store, by its name."""
    (place / "shadow").write_text("root's")
    (place / "shadow").chmod(0o600)
    copy, link = place / "srv" / "copy", place / "srv" / "link"
    for at in range(1, 100):
        made_anew(place, place / "shadow")
        is_reached = exchanging(at, copy, link, command, place / "data", copy)
        status = (place / "shadow").stat()
        assert (status.st_uid, status.st_mode & 0o777) == (0, 0o600), f"moment {at}"
        if not is_reached:
            break
    assert at > 3


@pytest.mark.slow
@pytest.mark.parametrize("command", ["backup", SALVAGE])
def test_nothing_of_another_tenant_s_is_removed_whenever_names_are_exchanged(command, place):
    """Root removed what a failed backup had made, by names that led elsewhere by then."""
    tenant = place / "tenant"
    tenant.mkdir(0o700)
    os.chown(tenant, *TENANT[:2])
    with acting_as(TENANT):
        fill(tenant)
    theirs = content(tenant)
    assert run("compact", place / "data").code == 0
    (snapshot,) = (place / "data").glob("*.snap*")
    data = bytearray(snapshot.read_bytes())
    data[data.index(b"secret0")] ^= 1
    snapshot.write_bytes(data)
    copy, link = place / "srv" / "copy", place / "srv" / "link"
    for at in range(1, 100):
        made_anew(place, tenant)
        is_reached = exchanging(at, copy, link, command, place / "data", copy)
        assert content(tenant) == theirs, f"moment {at}"
        if not is_reached:
            break
    assert at > 3


#: Exchanges two names as often as it can, for a while, as another user.
RACING = """
import ctypes, os, sys, time
os.setgid(54322)
os.setuid(54321)
rename, first, second = ctypes.CDLL(None).renameat2, *map(os.fsencode, sys.argv[1:])
end = time.monotonic() + 30
print("ready", flush=True)
while time.monotonic() < end:
    for _ in range(1000):
        rename(-100, first, -100, second, 2)
"""


@pytest.mark.slow
def test_no_file_of_root_s_changes_its_owner_while_a_user_exchanges_names(place):
    (place / "shadow").write_text("root's")
    (place / "shadow").chmod(0o600)
    copy, link = place / "srv" / "copy", place / "srv" / "link"
    until = time.monotonic() + 20
    for _ in range(6):
        made_anew(place, place / "shadow")
        racing = [sys.executable, "-c", RACING, str(copy), str(link)]
        with subprocess.Popen(racing, stdout=subprocess.PIPE) as racer:
            racer.stdout.readline()
            run("backup", place / "data", copy)
            racer.kill()
        assert (place / "shadow").stat().st_uid == 0
        if time.monotonic() > until:
            break
