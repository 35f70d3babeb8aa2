"""Each command on a store in Redis: it works there, or says why not; no password is shown."""

from __future__ import annotations

import json
import signal
import time
from itertools import count

import pytest

from litesess import Record, WALStore
from litesess.cli import MODULES
from litesess.cli.address import Directory, Server, parse
from litesess.cli.exits import Exit
from litesess.ids import handle_of, key_of
from litesess.stores.redis import RedisStore
from tests.tools.beakers import BeakerSite
from tests.tools.commands import LATER, fill, run, start
from tests.tools.flask_sessions import FlaskSessionSite
from tests.tools.redises import cluster_url, needs_redis, redis_cluster, redis_server
from tests.tools.servers import ROOT, wait_until

PASSPHRASE, OTHER = "correct horse battery", "staple them together"
PASSWORD = "hunter2/?#@x"
QUOTED = "hunter2%2F%3F%23%40x"

_prefixes = count()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def prefix():
    return f"cli{next(_prefixes)}:"


@pytest.fixture
def address(server, prefix):
    return f"{server.url}/0?prefix={prefix}"


def sessions(number=3):
    keys = [key_of(f"session {at}") for at in range(number)]
    now = time.time()
    return {
        key: Record(
            {"user": f"secret{at}", "cart": [at]},
            now - 50 + at,
            now + 5000,
            owner=("ada", "eve")[at % 2],
        )
        for at, key in enumerate(keys)
    }


@pytest.fixture
def keys(server, prefix):
    """The keys of three sessions in Redis, of ada, eve and ada."""
    with RedisStore(server.url, prefix=prefix) as store:
        found = sessions()
        assert store.create_all(found) == [True] * 3
    return [*found]


def left(server, prefix, **options):
    with RedisStore(server.url, prefix=prefix, **options) as store:
        return {key: record.data for key, record in store.records()}


#: For each command: its arguments, with ADDRESS for a store; and whether it works in Redis.
TABLE = {
    "stats": (["ADDRESS"], True),
    "list": (["ADDRESS"], True),
    "show": (["ADDRESS", handle_of(key_of("session 0"))], True),
    "verify": (["ADDRESS"], False),
    "revoke": (["ADDRESS", "--owner", "ada"], True),
    "gc": (["ADDRESS"], True),
    "compact": (["ADDRESS"], False),
    "rekey": (["ADDRESS"], False),
    "passwd": (["ADDRESS"], False),
    "backup": (["ADDRESS", "TARGET"], False),
    "salvage": (["ADDRESS", "TARGET"], False),
    "export": (["ADDRESS", "TARGET"], True),
    "import": (["ADDRESS", "LINES"], True),
    "import-beaker": (["ADDRESS", "BEAKER", "--timeout", "60"], True),
    "import-flask-session": (["ADDRESS", "FLASK_SESSION"], True),
    "copy": (["ADDRESS", "TARGET", "--create"], True),
    "secret": ([], True),
    "completion": (["bash"], True),
}
WORK = [name for name, (_, works) in TABLE.items() if works and name != "completion"]


def line_of(tmp_path):
    (tmp_path / "lines").write_text(
        json.dumps({"key": key_of("new"), "created_at": 1, "expires_at": LATER, "data": {"a": 1}})
    )
    return tmp_path / "lines"


def words(command, address, tmp_path):
    """Return the command line that the table has for a command."""
    places = {
        "ADDRESS": address, "TARGET": tmp_path / "target",
        "LINES": tmp_path / "lines", "BEAKER": tmp_path / "beaker",
        "FLASK_SESSION": tmp_path / "flask_session",
    }  # fmt: skip
    arguments, _ = TABLE[command]
    return [command, *(places.get(word, word) for word in arguments)]


def test_the_table_has_every_command():
    assert [*TABLE] == [*MODULES]


@needs_redis
@pytest.mark.parametrize("command", TABLE)
def test_each_command_works_in_redis_or_says_why_not(command, cli, address, keys, tmp_path):
    line_of(tmp_path)
    BeakerSite(tmp_path / "beaker").log_in(user="ada")
    FlaskSessionSite(tmp_path / "flask_session").log_in("ada")
    told = cli(*words(command, address, tmp_path))
    if TABLE[command][1]:
        assert (told.code, told.err) == (Exit.DONE, "")
        assert told.out or command == "export"
        return
    assert (told.code, told.out) == (Exit.USAGE, "")
    assert told.err.startswith(f"litesess: {command} works only on stores in directories: ")
    assert told.err.count("\n") == 1
    assert not (tmp_path / "target").exists()


@needs_redis
@pytest.mark.parametrize("command", WORK)
def test_json_of_each_command_is_valid(command, cli, address, keys, tmp_path):
    line_of(tmp_path)
    BeakerSite(tmp_path / "beaker").log_in(user="ada")
    FlaskSessionSite(tmp_path / "flask_session").log_in("ada")
    told = cli(*words(command, address, tmp_path), "--json")
    assert told.code == Exit.DONE
    for line in told.out.splitlines():
        json.loads(line, parse_constant=pytest.fail)


#: Not all that work: each waits for a second.
@pytest.mark.parametrize(
    "command", ["stats", "import", "copy", *(name for name in TABLE if not TABLE[name][1])]
)
@pytest.mark.slow
def test_an_unreachable_server_is_one_line_without_the_password(command, cli, tmp_path):
    line_of(tmp_path)
    BeakerSite(tmp_path / "beaker").log_in(user="ada")
    FlaskSessionSite(tmp_path / "flask_session").log_in("ada")
    told = cli(*words(command, f"redis://me:{QUOTED}@127.0.0.1:1/0", tmp_path))
    works = TABLE[command][1]
    assert told.code == (Exit.AWAY if works else Exit.USAGE)
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert "hunter2" not in told.err
    if works:
        assert "redis://127.0.0.1:1" in told.err


WRONG = [
    ["stats", "redis://:hunter2/x@host/"],  # the URL ends at the slash
    ["stats", "redis://:hunter2#x@host/"],
    ["stats", "redis://:hunter2?x@host/"],
    ["stats", "redis://:hunter2@[host/"],
    ["stats", "redis://:hunter2@host:port/"],
    ["stats", "redis://:hunter2"],
    ["stats", "rediss://:hunter2@host\u2100/"],  # which urlsplit() repeats
    ["stats", "http://:hunter2@host/"],
    ["stats", "data", "redis://:hunter2@host/"],
    ["redis://:hunter2@host/", "stats"],
    ["show", "data", "redis://:hunter2@host/"],
    ["copy", "data", "data", "--threads", "redis://:hunter 2@host/"],
    ["stats", "data", "--collection", "redis://:hunter2@host/"],
    ["stats", "--interval", "redis://:hunter2@host/", "data"],
    ["stats", "redis://:hunter2@host/", "--collection", "carts"],
    ["backup", "data", "redis://:hunter2@host/"],
    ["salvage", "data", "redis://:hunter2@host/"],
    ["stats", "data", "--key-file", "redis://:hunter2@host/"],
    ["stats", "redis://host/?password=hunter2&decode_responses=1"],
    ["stats", "redis://host/?password=hunter2&nonsense=1"],
    ["stats", "redis://:hunter2@host/nonsense?db=hunter2"],
    ["stats", "redis://:hunter2@host/1O"],
    ["stats", "redis://:hunter2@ho..st/"],
    ["stats", f"redis://:hunter2@{'x' * 64}/"],
    ["stats", "redis://:hunter2@host:99999/"],
    ["stats", "redis+cluster://:hunter2@host:99999"],
    ["stats", "redis+cluster://:hunter2@host/7"],
    ["stats", "redis+sentinel://:hunter2@host/"],
    ["stats", "redis://:hunter2@host/?prefix=*"],
]


@pytest.mark.parametrize("arguments", WRONG, ids=range(len(WRONG)))
def test_a_wrong_command_line_shows_no_password(arguments, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "data")
    told = cli(*arguments)
    assert told.code in (Exit.USAGE, Exit.KEY)
    assert "hunter" not in told.out + told.err
    assert told.err


def test_no_repr_shows_a_password(monkeypatch):
    monkeypatch.setenv("LITESESS_REDIS_PASSWORD", "hunter2")
    assert repr(parse("redis://host/1")) == "<Server redis://host/1>"


class TestAddress:
    @pytest.mark.parametrize(
        ("text", "address"),
        [
            ("data", Directory("data")),
            ("./wal:data", Directory("./wal:data")),
            ("/srv/a?b:c", Directory("/srv/a?b:c")),
            ("wal:/srv/data", Directory("/srv/data")),
            ("wal:data?collection=carts", Directory("data", "carts")),
            ("redis://host", Server("redis://host")),
            ("redis://host/3?prefix=a:&db=1", Server("redis://host/3?prefix=a:&db=1", "a:")),
            ("rediss://u:p@host:7/0", Server("rediss://u:p@host:7/0")),
            ("unix:///run/redis.sock", Server("unix:///run/redis.sock")),
            ("redis://[::1]:7", Server("redis://[::1]:7")),
            ("redis+sentinel://a:1,b:2/main/0", Server("redis+sentinel://a:1,b:2/main/0")),
            ("redis+cluster://a:1,[::1]:2", Server("redis+cluster://a:1,[::1]:2")),
        ],
    )
    def test_each_form_is_read(self, text, address):
        assert parse(text) == address

    def test_the_password_of_the_environment_is_for_an_address_without_one(self, monkeypatch):
        monkeypatch.setenv("LITESESS_REDIS_PASSWORD", PASSWORD)
        assert parse("redis://host/").url == f"redis://:{QUOTED}@host/"
        assert parse("redis://ada@host/").url == f"redis://ada:{QUOTED}@host/"
        assert parse("redis://:mine@host/").url == "redis://:mine@host/"
        assert parse("redis://host/?password=mine").url == "redis://host/?password=mine"
        assert parse("unix:///run/redis").url == f"unix://:{QUOTED}@/run/redis"

    @pytest.mark.parametrize("arguments", [["wal:"], ["wal:?collection=x"], [""]])
    def test_an_address_of_nothing_is_wrong(self, arguments, cli):
        told = cli("stats", *arguments)
        assert told.code == Exit.USAGE
        assert "the address names no directory" in told.err

    def test_both_ways_to_name_a_collection_must_agree(self, cli, tmp_path):
        fill(tmp_path, collection="carts")
        address = f"wal:{tmp_path}?collection=carts"
        assert cli("stats", address, "--json").json["collection"] == "carts"
        assert cli("stats", address, "--collection", "carts").code == Exit.DONE
        assert cli("stats", address, "--collection", "other").code == Exit.USAGE

    @pytest.mark.parametrize("command", ["stats", "list", "gc", "export", "verify", "compact"])
    def test_wal_before_a_path_is_the_same(self, command, cli, tmp_path):
        fill(tmp_path)
        assert cli(command, f"wal:{tmp_path}").code == Exit.DONE

    def test_a_backup_goes_to_an_address_of_a_directory(self, cli, tmp_path):
        fill(tmp_path / "data")
        assert cli("backup", tmp_path / "data", f"wal:{tmp_path}/copy").code == Exit.DONE
        assert (tmp_path / "copy").is_dir()

    def test_without_the_package_redis_it_says_what_to_install(self, tmp_path):
        (tmp_path / "redis.py").write_text("raise ImportError")
        told = run("stats", "redis://127.0.0.1:1", env={"PYTHONPATH": f"{tmp_path}:{ROOT}"})
        assert told.code == Exit.USAGE
        assert "pip install 'litesess[redis]'" in told.err


@needs_redis
class TestLooking:
    def test_stats_counts_the_sessions(self, cli, server, prefix, address, keys):
        told = cli("stats", "--json", address)
        assert told.json == {
            "address": f"{server.url}/0",
            "prefix": prefix,
            "encrypted": False,
            "live": 3,
            "expired": 0,
            "passed_over": 0,
            "maxmemory_policy": "noeviction",
        }
        assert "live              3\n" in cli("stats", address).out

    def test_stats_counts_what_has_expired_by_the_clock_here(self, cli, server, prefix, address):
        # Redis removes a session some time after its end.
        with RedisStore(server.url, prefix=prefix, clock=lambda: time.time() - 100) as store:
            store.create(key_of("x"), Record({}, 1.0, time.time() - 50))
        told = cli("stats", "--json", address).json
        assert (told["live"], told["expired"]) == (0, 1)
        assert cli("gc", address) == (0, "1 expired session deleted\n", "")

    def test_what_is_foreign_is_not_counted(self, cli, server, prefix, address, keys):
        name = f"{prefix}s:{{{key_of('foreign')}}}"
        server.client.set(name, "no hash")
        assert cli("stats", "--json", address).json["live"] == 3
        server.client.delete(name)
        server.client.hset(name, "a", "no session")
        assert cli("stats", "--json", address).json["live"] == 3

    def test_watching_sees_what_changes(self, server, prefix, address, keys):
        with start("stats", "--watch", "--interval", 0.1, "--json", address) as process:
            assert json.loads(process.stdout.readline())["live"] == 3
            with RedisStore(server.url, prefix=prefix) as store:
                store.clear()
            wait_until(lambda: json.loads(process.stdout.readline())["live"] == 0, "it sees that")
            process.send_signal(signal.SIGINT)
            _, err = process.communicate()
        assert (process.returncode, err) == (Exit.INTERRUPTED, "")

    def test_list_shows_the_sessions_of_all_or_of_one_owner(self, cli, address, keys):
        found = [json.loads(line) for line in cli("list", "--json", address).out.splitlines()]
        assert {each["handle"] for each in found} == {*map(handle_of, keys)}
        told = cli("list", "--owner", "ada", address).out.splitlines()[1:]
        assert [line.split()[0] for line in told] == [handle_of(keys[0]), handle_of(keys[2])]

    def test_show_shows_one(self, cli, address, keys):
        told = cli("show", "--data", "--json", address, handle_of(keys[1])).json
        assert (told["owner"], told["data"]) == ("eve", {"user": "secret1", "cart": [1]})
        assert cli("show", address, "0123456789abcdef").code == Exit.NOT_THERE

    def test_a_mistyped_prefix_is_no_store_and_makes_none(self, cli, server):
        address = f"{server.url}/0?prefix=typo:"
        for command in "stats", "list", "gc", "export", "import":
            told = cli(command, address)
            assert (told.code, told.out) == (Exit.PATH, "")
            assert "there is no store with that prefix, 'typo:'" in told.err
        assert [*server.client.scan_iter("typo:*")] == []


@needs_redis
class TestChanging:
    def test_revoke_by_handle_by_owner_and_all(self, cli, server, prefix, address, keys):
        told = cli("revoke", address, handle_of(keys[1]), "0123456789abcdef")
        assert (told.code, told.out) == (Exit.NOT_THERE, "1 session revoked\n")
        assert {*left(server, prefix)} == {keys[0], keys[2]}
        assert cli("revoke", address, "--owner", "ada").out == "2 sessions revoked\n"
        assert left(server, prefix) == {}
        with RedisStore(server.url, prefix=prefix) as store:
            store.create_all(sessions())
        assert cli("revoke", address, "--all").code == Exit.DONE
        assert left(server, prefix) == {}


@needs_redis
class TestCopying:
    def test_an_export_is_imported_elsewhere(self, cli, server, prefix, address, keys, tmp_path):
        assert cli("export", address, tmp_path / "out").out.startswith("3 sessions exported")
        other = f"{server.url}/0?prefix=other{prefix}"
        assert cli("import", other, tmp_path / "out").code == Exit.PATH
        told = cli("import", "--create", other, tmp_path / "out", "--json").json
        assert told == {"created": 3, "existing": 0, "expired": 0, "dry_run": False}
        assert left(server, f"other{prefix}") == left(server, prefix)
        assert cli("import", other, tmp_path / "out", "--json").json["existing"] == 3
        assert cli("import", "--create", tmp_path / "data", tmp_path / "out").code == Exit.DONE
        with WALStore(tmp_path / "data") as store:
            assert {key: each.data for key, each in store.records()} == left(server, prefix)

    def test_only_the_sessions_of_an_owner_are_exported(self, cli, address, keys):
        (line,) = cli("export", "--owner", "eve", address).out.splitlines()
        assert json.loads(line)["key"] == keys[1]

    def test_beaker_s_sessions_are_imported(self, cli, server, prefix, address, tmp_path):
        BeakerSite(tmp_path / "beaker").log_in(user="ada")
        told = cli("import-beaker", "--create", "--timeout", 60, address, tmp_path / "beaker")
        assert told.out.startswith("1 session imported")
        assert [*left(server, prefix).values()] == [{"user": "ada"}]

    @pytest.mark.slow
    def test_an_export_that_is_stopped_leaves_no_file(self, server, prefix, address, tmp_path):
        with RedisStore(server.url, prefix=prefix) as store:
            store.create_all(sessions(20_000))
        with start("export", address, tmp_path / "out") as process:
            wait_until(lambda: (tmp_path / "out.part").exists(), "it begins")
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate()
        assert (process.returncode, err) == (Exit.TERMINATED, "")
        assert [*tmp_path.iterdir()] == []


@needs_redis
class TestEncryption:
    def test_an_encrypted_store_needs_its_key(self, cli, server, prefix, address, monkeypatch):
        with RedisStore(server.url, prefix=prefix, encryption_key=PASSPHRASE) as store:
            store.create_all(sessions())
        told = cli("list", address)
        assert told.code == Exit.KEY
        assert "is encrypted, by a passphrase; set LITESESS_ENCRYPTION_KEY" in told.err
        monkeypatch.setenv("LITESESS_ENCRYPTION_KEY", OTHER)
        told = cli("stats", address)
        assert (told.code, told.out) == (Exit.KEY, "")
        monkeypatch.setenv("LITESESS_ENCRYPTION_KEY", PASSPHRASE)
        told = cli("stats", address, "--json").json
        assert (told["encrypted"], told["live"]) == (True, 3)

    def test_an_import_makes_an_encrypted_store(
        self, cli, server, prefix, address, tmp_path, monkeypatch
    ):
        monkeypatch.setenv("LITESESS_ENCRYPTION_KEY", PASSPHRASE)
        assert cli("import", "--create", address, line_of(tmp_path)).code == Exit.DONE
        assert left(server, prefix, encryption_key=PASSPHRASE) == {key_of("new"): {"a": 1}}


@needs_redis
@pytest.mark.slow
def test_a_server_with_a_password_takes_it_from_the_address_or_the_environment(tmp_path):
    with redis_server(tmp_path / "redis") as server:
        server.client.config_set("requirepass", PASSWORD)
        address = f"redis://:{QUOTED}@127.0.0.1:{server.port}/0"
        told = run("import", "--create", address, line_of(tmp_path))
        assert told.code == Exit.DONE, told.err
        env = {"LITESESS_REDIS_PASSWORD": PASSWORD}
        assert run("stats", "--json", f"{server.url}/0", env=env).json["live"] == 1
        for told in (
            run("stats", f"{server.url}/0"),
            run("stats", f"{server.url}/0", env={"LITESESS_REDIS_PASSWORD": "hunter3"}),
        ):
            assert (told.code, told.out) == (Exit.AWAY, "")
            assert "refuses the user or password" in told.err
            assert "hunter" not in told.err


@needs_redis
@pytest.mark.slow
def test_a_cluster_is_looked_after_too(cli, tmp_path):
    with redis_cluster(tmp_path / "cluster") as nodes:
        address = cluster_url(nodes)
        assert cli("import", "--create", address, line_of(tmp_path)).code == Exit.DONE
        assert cli("stats", "--json", address).json["live"] == 1
        assert cli("revoke", "--all", address).code == Exit.DONE
        assert cli("stats", "--json", address).json["live"] == 0
