"""What went wrong in other session libraries can't go wrong here."""

from __future__ import annotations

import ast
import base64
import hashlib
import hmac
import json
import os
import pickle
import sys
import time
from pathlib import Path

import pytest

import litesess
from litesess import (
    ConfigError,
    CookieSettings,
    Corruption,
    MemoryStore,
    Record,
    Session,
    WALStore,
)
from litesess.engine import Put
from litesess.ids import handle_of, key_of, new_id
from litesess.stores import packed
from litesess.web.cookie import CookieSigner
from tests.tools.apps import (
    COOKIE,
    KEY,
    SECRET,
    Boom,
    Site,
    WatchedWALStore,
    environ_of,
    look,
    serve,
    write,
)

# What is stored is executed.

CAN_RUN = {
    "_pickle", "cloudpickle", "code", "codeop", "copyreg", "ctypes", "dbm", "dill", "imp",
    "importlib", "joblib", "jsonpickle", "marshal", "pickle", "pickletools", "pkgutil", "runpy",
    "shelve", "subprocess", "yaml",
}  # fmt: skip
#: Of ``importlib``: tells what is installed, and runs none of it.
LOOKS_ONLY = {"importlib.metadata.version", "importlib.util.find_spec"}
#: Load modules by names that are constants.
LOADERS = (
    "litesess/cli/arguments.py",
    "litesess/cli/owner.py",
    "litesess/cli/progress.py",
    "litesess/lazy.py",
    "litesess/stores/opening.py",
)
RUNS = {"eval", "exec", "compile", "__import__", "execfile", "input", "breakpoint"}


def test_no_module_can_run_what_is_stored():
    """CVE-2013-7489 (Beaker), CVE-2021-33026 (Flask-Caching), CVE-2025-69872 (diskcache)."""
    modules = list(Path(litesess.__file__).parent.rglob("*.py"))
    assert len(modules) > 20
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Name):
                assert node.id not in RUNS, module
                continue
            else:
                continue
            names -= LOOKS_ONLY
            if module.as_posix().endswith(LOADERS):
                names -= {"importlib.import_module"}
            assert not CAN_RUN & {name.partition(".")[0] for name in names}, module


class Bomb:
    """Leaves a file where it is run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def bombs(path: Path) -> list[bytes]:
    code = f"__import__('os').mkdir({str(path)!r})"
    by_json = [
        {"py/reduce": [{"py/function": "os.mkdir"}, {"py/tuple": [str(path)]}]},
        {"~reduce": ["os.mkdir", [str(path)]]},
        {"~dict": {"__class__": "os.mkdir"}},
        {"~set": [{"~object": code}]},
    ]
    return [
        *(pickle.dumps(Bomb(path), protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)),
        code.encode(),
        f"!!python/object/apply:os.mkdir ['{path}']".encode(),
        *(json.dumps(value).encode() for value in by_json),
    ]


def test_the_bombs_go_off(tmp_path):
    for bomb in bombs(tmp_path / "ran")[: pickle.HIGHEST_PROTOCOL + 1]:
        pickle.loads(bomb)
        (tmp_path / "ran").rmdir()


@pytest.mark.parametrize("where", ["record", "value", "cookie", "owner"])
def test_hostile_bytes_in_a_store_are_never_run(tmp_path, where, clock):
    """CVE-2013-7489 (Beaker), CVE-2021-33026 (Flask-Caching, cachelib)."""
    for bomb in bombs(tmp_path / "ran"):
        site = Site(clock=clock)
        session_id = site.visit(lambda s: s.update(user="ada") or s.id).value
        value = {
            "record": bomb,
            "value": packed.pack(clock(), 1.0, None, None, None, {"user": bomb}),
            "cookie": packed._HEAD.pack(clock(), 1.0, 0, len(bomb), 0) + bomb,
            "owner": packed.pack(clock(), 1.0, bomb.decode("latin-1"), None, None, {}),
        }[where]
        put = Put(bytes.fromhex(key_of(session_id)), value, clock() + 100)
        site.store._engine.transact(lambda _stored, put=put: ([put], None), sync=False)

        def act(session):
            return [dict(session), session.owner, session.cookie.path, session.update(a=1)]

        site.visit(act)
        assert site.visit(lambda s: s["a"]).value == 1
        assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name",
    [
        "sessions.0000000000000001.wal",
        "sessions.0000000000000001.snapshot",
        "sessions.0000000000000002.wal",
        "sessions.live",
        "sessions.compact",
    ],
)
def test_a_file_put_in_the_place_of_a_session_file_is_refused_and_never_run(tmp_path, name):
    """CVE-2020-9484, CVE-2025-24813 (Tomcat)."""
    for number, bomb in enumerate(bombs(tmp_path / "ran")):
        data = tmp_path / f"data{number}"
        with WALStore(data) as store:
            store.create(key_of("a"), Record({"user": "ada"}, 0.0, time.time() + 100))
        (data / name).unlink(missing_ok=True)
        descriptor = os.open(data / name, os.O_CREAT | os.O_WRONLY, 0o600)
        os.write(descriptor, bomb * 100)
        os.close(descriptor)
        try:
            with WALStore(data) as store:
                record = store.load(key_of("a"))
        except Corruption:
            pass
        else:
            # A lock has no content, and what is of no generation in use does not count.
            assert not name.endswith("1.wal")
            assert record.data == {"user": "ada"}
        assert not (tmp_path / "ran").exists()


# Ids that are more than ids.

HOSTILE = [
    "", ".", "..", "/", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "..\\..\\boot.ini",
    "%2e%2e%2f", "~root", "C:", "con.txt", "a\0b", "a\nb", "sessions.live", "*", "${HOME}", "`id`",
    "....//", "\xe4", "\uff0e\uff0e\uff0f", "x" * 300,
]  # fmt: skip
ALLOWED = ["-", "_", "-rf", "--help", "CON", "nul", "__init__", "etc", "0", "x" * 128]


def signed_by_us(session_id: str) -> str:
    """Return a value whose signature holds, over anything."""
    signer = CookieSigner(COOKIE, [SECRET.encode()])
    signer._serializers[0][0].serializer = type("Any", (), {"dumps": lambda text: text.encode()})
    return signer.sign(session_id)


def names_below(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def test_an_id_never_becomes_a_file_name(tmp_path, clock):
    """CVE-2008-0252 (CherryPy), CVE-2011-0698 (Django), CVE-2024-3400 (gorilla/sessions)."""
    made = iter([*ALLOWED, *ALLOWED])
    store = WatchedWALStore(tmp_path / "deep" / "data", clock=clock)
    site = Site(store, clock=clock, genid=lambda _environ: next(made))
    site.visit(write(user="ada"))
    files = names_below(tmp_path)
    assert len(files) > 2
    for _ in ALLOWED[1:]:
        site.visit(write(a=1), by=site.new_browser())
    plain = Site(store, clock=clock)
    for hostile in HOSTILE:
        for value in hostile, signed_by_us(hostile):
            visitor = plain.new_browser()
            header = f"{COOKIE}={value}"
            assert plain.visit(look, by=visitor, cookie=header).value == {}
            assert plain.visit(lambda s: s.destroy(), by=visitor, cookie=header).said == ""
        for operation in (
            lambda key: store.load(key),
            lambda key: store.delete(key),
            lambda key: store.touch(key, 1.0),
            lambda key: store.update(key, {}, ()),
            lambda key: store.create(key, Record({}, 0.0, 1e10)),
            lambda key: store.replace(key_of("a"), key, Record({}, 0.0, 1e10)),
            lambda key: store.rotate(key_of(ALLOWED[0]), key, {}, ()),
        ):
            with pytest.raises(ValueError, match="a key is 64 hex digits"):
                operation(hostile)
    assert names_below(tmp_path) == files
    assert len(store) == len(ALLOWED)
    store.close()


def test_ids_that_look_alike_are_different_sessions(tmp_path, clock):
    """CVE-2026-25480 (Litestar)."""
    alike = ["abc", "ABC", "aBc", "a-c", "a_c", "abc-", "-abc", "0", "O", "00", "l", "1", "I"]
    made = iter(alike)
    store = WatchedWALStore(tmp_path / "data", clock=clock)
    site = Site(store, clock=clock, genid=lambda _environ: next(made))
    visitors = {name: site.new_browser() for name in alike}
    for name, visitor in visitors.items():
        site.visit(write(name=name), by=visitor)
    for name, visitor in visitors.items():
        assert site.visit(look, by=visitor).value == {"name": name}
    # The same text in other code points, and in others that NFKD makes one.
    assert len({*map(key_of, ["\u00e9", "e\u0301", "K", "\u212a", "\uff2b", "2", "\u00b2"])}) == 7
    store.close()


class Listening(MemoryStore):
    """A memory store that keeps every text it is given."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.texts: set[str] = set()


def _listening(name):
    def operation(self, *arguments, **options):
        self.texts.update(item for item in arguments if isinstance(item, str))
        return getattr(MemoryStore, name)(self, *arguments, **options)

    return operation


for _name in ("load", "create", "update", "touch", "rotate", "replace", "delete"):
    setattr(Listening, _name, _listening(_name))


def test_no_store_is_ever_given_an_id(clock):
    """CVE-2019-16782 (Rack)."""
    store = Listening(clock=clock, touch_interval=0)
    site = Site(store, clock=clock, genid=lambda _environ: new_id())
    ids = []
    for action in (
        write(user="ada"), look, write(user="bob"), Session.rotate, Session.save, Session.touch,
        Session.regenerate, Session.reload, Session.destroy,
    ):  # fmt: skip
        clock.advance(1)
        site.visit(lambda s, action=action: (ids.append(s.id), action(s), ids.append(s.id)))
    hashes = {hashlib.sha256(session_id.encode()).hexdigest() for session_id in ids}
    assert len(store.texts) >= 3
    assert store.texts <= hashes


def test_what_a_store_lists_opens_no_session():
    """CVE-2020-5224 (django-user-sessions)."""
    site = Site()
    site.visit(lambda s: (s.update(user="ada"), setattr(s, "owner", "7")))
    session_id = site.visit(lambda s: s.id).value
    ((key, record),) = site.store.find("7")
    assert session_id not in f"{key} {record!r} {vars(type(record))}"
    assert site.visit(lambda s: s.handle).value == handle_of(key)
    for listed in key, handle_of(key), key.upper(), base64.b64encode(bytes.fromhex(key)).decode():
        for value in listed, signed_by_us(listed):
            assert site.visit(look, cookie=f"{COOKIE}={value}").value == {}


# Sessions that nobody began.


@pytest.mark.parametrize(
    "log_out",
    [
        lambda s: s.destroy(),
        lambda s: s.clear(),
        lambda s: s.pop("user", None),
        lambda s: (s.clear(), s.destroy()),
        lambda s: setattr(s, "owner", None),
        lambda s: (s.rotate(), s.clear()),
        lambda s: s.pop_flash(),
        lambda s: (s.update(user="eve"), s.clear()),
    ],
)
@pytest.mark.parametrize("known", [None, "forged", signed_by_us("b" * 43)])
def test_a_stranger_who_logs_out_leaves_no_record(log_out, known):
    """CVE-2015-5963, CVE-2015-5964 (Django)."""
    site = Site()
    for _ in range(3):
        response = site.visit(log_out, cookie=known and f"{COOKIE}={known}")
        assert response.said in ("", "expired")
    assert site.store.writes == {}
    assert len(site.store) == 0


# Sessions that don't end.


def test_those_who_logged_out_share_no_session():
    """CVE-2015-3982 (Django): all of them had the empty id."""
    site = Site()
    names = []
    ids = set()
    left = []
    for name in ("ada", "bob"):
        visitor = site.new_browser()
        site.visit(write(user=name), by=visitor)
        kept = dict(visitor.cookies)

        def log_out(session):
            session.destroy()
            ids.add(session.id)
            return dict(session)

        assert site.visit(log_out, by=visitor).value == {}
        assert visitor.cookies == {}
        left += [f"{COOKIE}=", f'{COOKIE}=""', f"{COOKIE}={kept[COOKIE]}", COOKIE]
    assert len(ids) == 2
    assert not {"", None, "None"} & ids
    left += [f"{COOKIE}={signed_by_us(nothing)}" for nothing in ("", "None", "null")]
    for number, header in enumerate(left):
        visitor = site.new_browser()
        names.append(site.visit(look, by=visitor, cookie=header).value)
        site.visit(write(secret=number), by=visitor, cookie=header)
    assert names == [{}] * len(left)
    assert len(site.data) == len(left)
    assert site.store.load(key_of("")) is None
    assert site.store.load(key_of("None")) is None


def test_a_destroyed_session_is_not_an_empty_one():
    """CVE-2018-1000519 (aiohttp-session)."""
    site = Site()
    site.visit(write(user="ada"))
    header, before = site.header, site.visit(lambda s: s.id).value
    site.visit(lambda s: s.pop("user"))
    assert site.visit(lambda s: (s.id, s.is_new, dict(s))).value == (before, False, {})
    site.visit(lambda s: s.destroy())
    site.visit(write(user="eve"), cookie=header)
    assert site.store.load(key_of(before)) is None
    assert site.visit(lambda s: (s.is_new, dict(s)), cookie=header).value == (True, {})
    assert site.visit(look).value == {"user": "eve"}
    assert site.visit(lambda s: s.id).value != before


@pytest.mark.parametrize("life", [1e3, 1e6, 1e9])
def test_a_life_that_is_stored_does_not_outlast_the_end_that_is_stored(clock, life):
    """CVE-2024-35220 (@fastify/session)."""

    class Frozen(MemoryStore):
        """Hands back what it was given, expired or not, with a life of its own."""

        def load(self, key):
            return Record({"user": "ada"}, clock.now, 1_700_000_100.0, {"max_age": life})

    site = Site(Frozen(clock=clock), clock=clock, cookie={"max_age": life})
    header = f"{COOKIE}={CookieSigner(COOKIE, [SECRET.encode()]).sign(new_id())}"
    assert site.visit(lambda s: s.cookie.original_max_age, cookie=header).value == life
    assert site.visit(lambda s: s.cookie.max_age, cookie=header).value == 100
    clock.advance(99)
    assert site.visit(lambda s: s.cookie.max_age, cookie=header).value == 1
    clock.advance(1)
    assert site.visit(look, cookie=header).value == {}


def test_a_new_password_ends_the_users_other_sessions():
    """CVE-2023-40273 (Airflow)."""
    site = Site()
    here, there, other = (site.new_browser() for _ in range(3))
    for visitor, owner in ((here, "7"), (there, "7"), (other, "8")):
        site.visit(
            lambda s, owner=owner: (s.update(user=owner), setattr(s, "owner", owner)), by=visitor
        )

    def change_password(session):
        return site.store.delete_owner(session.owner, keep=[session])

    assert site.visit(change_password, by=here).value == 1
    assert site.visit(look, by=there).value == {}
    assert site.visit(look, by=here).value == {"user": "7"}
    assert site.visit(look, by=other).value == {"user": "8"}


# Signatures and secrets.


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(session_id: str) -> list[str]:
    """Return what other libraries, or an earlier one of ours, might have read as that id."""
    raw = session_id.encode()
    keys = (b"", b"litesess/cookie/1/", b"secret", SECRET[::-1].encode(), SECRET.encode())
    macs = [
        hmac.new(key, raw, algorithm).digest()
        for key in keys
        for algorithm in ("sha1", "sha256", "sha512", "md5")
    ]
    return [
        session_id,
        b64(raw),
        raw.hex(),
        b64(bytes(32) + raw),
        b64(bytes(64) + raw),
        b64(hashlib.sha256(raw).digest() + raw),
        b64(json.dumps(session_id).encode()),
        b64(json.dumps({"sid": session_id}).encode()),
        b64(pickle.dumps(session_id)),
        f"s%3A{session_id}.{b64(bytes(32))}",
        f"s:{session_id}.{b64(bytes(32))}",
        f"{b64(b'{}')}.{b64(raw)}.",
        f"--{session_id}",
        f"{session_id}--{bytes(20).hex()}",
        *(b64(mac + raw) for mac in macs),
        *(f"{session_id}.{b64(mac)}" for mac in macs),
        *(f"{b64(raw)}.{b64(mac)}" for mac in macs),
        *(mac.hex() + session_id for mac in macs),
    ]


def test_a_value_without_our_signature_is_read_in_no_other_way():
    """CVE-2026-39324 (rack-session): what could not be decrypted was decoded unsigned."""
    site = Site()
    session_id = site.visit(lambda s: s.update(user="ada") or s.id).value
    site.store.calls.clear()
    for value in unsigned(session_id):
        for header in (f"{COOKIE}={value}", f'{COOKIE}="{value}"', f"{COOKIE}={value}; x=1"):
            assert site.visit(look, cookie=header).value == {}, value
    assert site.store.calls == {}
    assert site.visit(look).value == {"user": "ada"}


def test_of_three_secrets_only_the_first_signs():
    """CVE-2025-47278 (Flask): the stalest one signed."""
    secrets = [hashlib.sha256(bytes([number])).hexdigest() for number in range(3)]
    site = Site(secret=secrets)
    site.visit(write(user="ada"))
    seen = [
        Site(site.store, secret=secret, clock=site.clock).visit(look, cookie=site.header).value
        for secret in secrets
    ]
    assert seen == [{"user": "ada"}, {}, {}]
    for secret in secrets[1:]:
        session_id = new_id()
        site.store.create(key_of(session_id), Record({"user": "bob"}, 0.0, site.clock() + 9))
        older = f"{COOKIE}={CookieSigner(COOKIE, [secret.encode()]).sign(session_id)}"
        (told,) = site.visit(look, by=site.new_browser(), cookie=older).set_cookies
        newest = CookieSigner(COOKIE, [secrets[0].encode()])
        assert [it.session_id for it in newest.verified(told.partition(";")[0])] == [session_id]


# Caches.


def take_out(environ, start_response):
    del environ[KEY]
    start_response("200 OK", [("Content-Type", "text/plain"), ("Cache-Control", "public")])
    return [b"hello"]


def serve_publicly(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Cache-Control", "s-maxage=60")])
    return [b"hello"]


@pytest.mark.parametrize(
    ("options", "shape", "is_known"),
    [
        ({"rolling": True}, None, True),
        ({"rolling": True, "cookie": {"max_age": 60}}, None, True),
        ({"rolling": True}, serve_publicly, True),
        ({"save_uninitialized": True}, None, False),
        ({"save_uninitialized": True}, serve_publicly, False),
        ({"unset": "destroy"}, take_out, True),
    ],
)
def test_a_cookie_sent_without_a_look_is_kept_from_caches(options, shape, is_known):
    """CVE-2023-30861 (Flask)."""
    site = Site(**options)
    if is_known:
        site.visit(write(user="ada"))
    response = site.visit(None, shape=shape)
    assert len(response.set_cookies) == 1
    assert response.all("Vary") == ["Cookie"]
    assert response.all("Cache-Control") == ["private" if shape is None else "no-store"]


def test_an_error_page_that_sets_the_cookie_is_private():
    """CVE-2024-26144 (Rails)."""

    def shape(environ, start_response):
        environ[KEY]["a"] = 1
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b""
        try:
            raise Boom
        except Boom:
            headers = [("Content-Type", "text/plain"), ("Cache-Control", "public, max-age=60")]
            start_response("500 Oops", headers, sys.exc_info())
        yield b"oops"

    response = Site().visit(shape=shape)
    assert (response.status, len(response.set_cookies)) == ("500 Oops", 1)
    assert response.all("Cache-Control") == ["no-store"]
    assert response.all("Vary") == ["Cookie"]


# Cookie headers.


@pytest.mark.parametrize("name", ["__Host-sid", "__Secure-sid", COOKIE])
def test_a_disguised_name_is_not_ours(name):
    """CVE-2023-23934 (Werkzeug): ``=__Host-sid=x`` passed for ``__Host-sid``."""
    signer = CookieSigner(name, [SECRET.encode()])
    value = signer.sign("planted")
    ours = f"{name}={value}"
    assert signer.verified(ours)
    disguised = [
        *(
            f"{before}{ours}"
            for before in ("=", "==", " =", "= ", "a=", "a b=", "$", "\\", "%", "'")
        ),
        *(f"{before}{ours}" for before in ("a=1 ", "x={", 'a="', '"')),
        *(f"{space}{ours}" for space in "\xa0\x85\x0b\x0c\x1f\u2000\0\r\n"),
        *(f"{other}={value}" for other in (name.upper(), f"{name}x", f"{name}[]", name[1:])),
        f"{name[:-1]}\xb9={value}",
        f"%5F{ours[1:]}",
        f"a={ours}",
        f'a="{ours}"',
        f'"{name}"={value}',
    ]
    if name.startswith("__"):
        # Servers join two Cookie lines by a comma, but browsers let a neighbour set such a name.
        disguised += [f"{before}{ours}" for before in ("a,", "a=1,", "$Version=1,")]
    for header in disguised:
        for around in ("{}", "x=1; {}", "{}; x=1", "x=1; {}; y=2"):
            assert signer.verified(around.format(header)) == [], header


OPENED = f'{COOKIE}="'

HEADERS = {
    "one large value": f"{COOKIE}={'A' * 1_000_000}",
    "100 000 cookies": "; ".join(f"c{number}=1" for number in range(100_000)),
    "ours 50 000 times": f"{COOKIE}=x; " * 50_000,
    "a megabyte of backslashes": OPENED + "\\" * 1_000_000,
    "quoted backslashes": OPENED + "\\" * 16_300 + '"',
    "quoted backslashes without an end": OPENED + "\\" * 16_300,
    "octal escapes": OPENED + "\\101" * 4_050 + '"',
    "broken octal escapes": OPENED + "\\9" * 8_100 + '"',
    "quotes": OPENED + '"' * 16_300,
    "spaces": f"{COOKIE}={' ' * 16_300}x",
    "equals signs": f"{COOKIE}{'=' * 16_300}",
    "semicolons": f"{COOKIE}=x{';' * 16_300}",
    "ours again and again": f"{COOKIE}=x;" * 1_092,
    "almost signed": f"{COOKIE}={'A' * 4};" * 900,
    "almost signed, and long": f"{COOKIE}={'A' * 512};" * 30,
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_hostile_cookie_header_costs_little(header):
    """CVE-2024-7592 (http.cookies), CVE-2024-52804 (Tornado): quadratic time."""
    site = Site(secret=[SECRET, SECRET[::-1]])

    def cost(header):
        """Return the seconds of CPU that the quickest of five requests takes."""
        environ = environ_of(HTTP_COOKIE=header)
        environ |= {"test.action": look, "test.shape": None, "test.result": []}
        took = []
        for _ in range(5):
            began = time.process_time()
            response = serve(site.middleware, dict(environ))
            took.append(time.process_time() - began)
        assert (response.body, response.said) == (b"hello", "")
        assert environ["test.result"] == [{}] * 5
        return min(took)

    once = cost(header)
    # On a slow machine twice as much may cost twice as much, and not four times.
    assert once < 0.05 or cost(f"{header}; {header}") < 3 * once
    assert site.store.calls == {}


CONTROLS = [chr(code) for code in (*range(0x20), 0x7F)]


@pytest.mark.parametrize("name", ["path", "domain", "samesite", "priority"])
@pytest.mark.parametrize("character", [*CONTROLS, ";"], ids=ascii)
def test_nothing_can_be_injected_through_a_cookie_setting(name, character):
    """CVE-2026-0672, CVE-2026-3644 (http.cookies), CVE-2024-47764 (cookie).

    Also GHSA-78cv-mqj4-43f7 (Tornado).
    """
    good = {"path": "/app", "domain": "example.com", "samesite": "lax", "priority": "high"}[name]
    for bad in (good + character, character + good, f"{good}{character} Domain=evil.example"):
        with pytest.raises(ConfigError):
            CookieSettings(**{name: bad})
        with pytest.raises(ConfigError):
            Site(cookie={name: bad})
        with pytest.raises(ConfigError):
            Site(cookie=lambda _environ, bad=bad: {name: bad}).visit(write(a=1), "/app")
        with pytest.raises(ConfigError):
            Site().visit(lambda s, bad=bad: setattr(s.cookie, name, bad))
    for bad in (f"sid{character}", f"{character}sid", f"sid{character}x=1"):
        with pytest.raises(ConfigError):
            Site(cookie_name=bad)
    with pytest.raises(ConfigError):
        Site(genid=lambda _environ: f"id{character}").visit(write(a=1))


def test_no_path_brings_anything_else_into_the_header():
    """CVE-2026-0672 (http.cookies), GHSA-78cv-mqj4-43f7 (Tornado)."""
    plain = Site().visit(write(a=1)).attributes.keys()
    seen = 0
    for code in (*range(0x20, 0x180), 0x2028, 0x3BB, 0xFF1B, 0x1F36A):
        try:
            settings = CookieSettings(path=f"/a{chr(code)} Domain=evil.example")
        except ConfigError:
            continue
        site = Site(cookie=settings)
        response = site.visit(write(a=1), settings.path)
        assert response.attributes.keys() == plain
        assert response.set_cookies[0].isascii()
        assert response.set_cookies[0].isprintable()
        assert "," not in response.set_cookies[0] or code == ord(",")
        seen += 1
    assert seen > 300


def test_the_headers_of_an_app_stay_as_they_are():
    """CVE-2025-7339 (on-headers)."""
    stated = [
        ("Content-Type", "text/plain"),
        ("vary", "Accept"),
        ("Cache-Control", "public"),
        ("Set-Cookie", "theme=dark"),
    ]
    shared = list(stated)

    def shape(environ, start_response):
        environ["test.act"](environ[KEY])
        start_response("200 OK", shared)
        yield b""
        try:
            raise Boom
        except Boom:
            start_response("500 Oops", shared, sys.exc_info())
        yield b"oops"

    site = Site()
    for act in (write(a=1), look, write(a=2), lambda s: s.rotate(), lambda s: s.destroy()):
        response = site.visit(shape=shape, **{"test.act": act})
        assert response.all("Vary") == ["Accept, Cookie"]
        assert len(response.set_cookies) <= 1
        assert shared == stated
