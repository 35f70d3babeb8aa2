"""Right and wrong uses of litesess, for type checkers; nothing runs this.

A wrong line ends with the rules that mypy and pyright say it breaks; no other line breaks one.
"""

# fmt: off
from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from typing_extensions import assert_type

from litesess import CookieSettings, MemoryStore, Session, SessionMiddleware, Store, WALStore
from litesess.beaker import from_beaker
from litesess.events import Event
from litesess.integrations.pyramid import PyramidSession, Request, SessionFactory
from litesess.stores.redis import RedisStore

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

SECRET = "2f1c0a9be6d84a7f93f1a55ce0b0d3c1"
LIFE = timedelta(days=1)


def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", [])
    return []


# Stores.
memory = MemoryStore()
MemoryStore(ttl=60, anonymous_ttl=LIFE, gc_interval=None, touch_interval="auto", max_sessions=10)
MemoryStore(max_per_owner=3, clock=lambda: 0.0)
MemoryStore(tll=60)  # wrong: call-arg | reportCallIssue
MemoryStore(durable=True)  # wrong: call-arg | reportCallIssue
MemoryStore(ttl="60")  # wrong: arg-type | reportArgumentType
MemoryStore(gc_interval="never")  # wrong: arg-type | reportArgumentType
MemoryStore(touch_interval="never")  # wrong: arg-type | reportArgumentType
MemoryStore(max_sessions=1.5)  # wrong: arg-type | reportArgumentType
MemoryStore(max_per_owner="3")  # wrong: arg-type | reportArgumentType
MemoryStore(anonymous_ttl="day")  # wrong: arg-type | reportArgumentType
MemoryStore(clock=0.0)  # wrong: arg-type | reportArgumentType

WALStore("data")
WALStore("data", collection="a", durable=False, wal_limit=65_536, lock_timeout=LIFE, debug=True)
WALStore("data", read_only=True, compact_after_gc=True, encryption_key="a long passphrase")
WALStore("data", share_anywhere=True)
WALStore("data", encryption_key=bytes(32))
WALStore()  # wrong: call-arg | reportCallIssue
WALStore("data", tll=5)  # wrong: call-arg | reportCallIssue
WALStore("data", durable="yes")  # wrong: arg-type | reportArgumentType
WALStore("data", collection=b"a")  # wrong: arg-type | reportArgumentType
WALStore("data", wal_limit=1e6)  # wrong: arg-type | reportArgumentType
WALStore("data", lock_timeout=None)  # wrong: arg-type | reportArgumentType
WALStore("data", read_only=None)  # wrong: arg-type | reportArgumentType
WALStore("data", debug="on")  # wrong: arg-type | reportArgumentType
WALStore("data", share_anywhere="fuse")  # wrong: arg-type | reportArgumentType
WALStore("data", compact_interval=timedelta(hours=1))
WALStore("data", compact_interval="daily")  # wrong: arg-type | reportArgumentType
WALStore("data", compact_after_gc="on")  # wrong: arg-type | reportArgumentType
WALStore("data", encryption_key=5)  # wrong: arg-type | reportArgumentType

RedisStore("redis://127.0.0.1/0", prefix="a:", timeout=2, encryption_key=None, max_per_owner=5)
RedisStore("redis://127.0.0.1/0", prefix=5)  # wrong: arg-type | reportArgumentType
RedisStore("redis://127.0.0.1/0", timeout="1")  # wrong: arg-type | reportArgumentType
RedisStore("redis://127.0.0.1/0", gc_interval=5)  # wrong: call-arg | reportCallIssue
RedisStore("redis://127.0.0.1/0", encryption_key=5)  # wrong: arg-type | reportArgumentType

# The cookie.
CookieSettings()
CookieSettings(max_age=LIFE, path="/a", domain=None, secure="auto", httponly=True, samesite="lax")
CookieSettings(expires=datetime.now(timezone.utc), samesite=None, partitioned=True, priority="high")
CookieSettings(samesite="lxa")  # wrong: arg-type | reportArgumentType
CookieSettings(max_age="1")  # wrong: arg-type | reportArgumentType
CookieSettings(expires="1")  # wrong: arg-type | reportArgumentType
CookieSettings(path=None)  # wrong: arg-type | reportArgumentType
CookieSettings(domain=True)  # wrong: arg-type | reportArgumentType
CookieSettings(secure="yes")  # wrong: arg-type | reportArgumentType
CookieSettings(httponly=None)  # wrong: arg-type | reportArgumentType
CookieSettings(partitioned=None)  # wrong: arg-type | reportArgumentType
CookieSettings(priority="highest")  # wrong: arg-type | reportArgumentType
CookieSettings(http_only=True)  # wrong: call-arg | reportCallIssue


# The middleware.
M = SessionMiddleware


def cookie(environ: dict[str, Any]) -> CookieSettings | None:
    return None


def genid(environ: WSGIEnvironment) -> str:
    return "id"


def owner(session: Session) -> object:
    return session.get("user")


def hear(event: Event) -> None:
    assert_type(event.handle, str)


SessionMiddleware(app, secret=SECRET, store=memory)
SessionMiddleware(app, secret=[SECRET, b"another"], store=WALStore("data"), cookie_name="sid")
M(app, secret=SECRET, store=memory, cookie=CookieSettings(path="/a"))
M(app, secret=SECRET, store=memory, cookie={"path": "/a", "samesite": "strict"})
M(app, secret=SECRET, store=memory, cookie=cookie, genid=genid, owner_key=owner)
M(app, secret=SECRET, store=memory, owner_key="user", drop_at_login=["token"])
M(app, secret=SECRET, store=memory, on_event=hear, if_unavailable="anonymous")
M(app, secret=SECRET, store=memory, trust_proxy=2, absolute_timeout=LIFE)
SessionMiddleware(app)  # wrong: call-arg | reportCallIssue
SessionMiddleware(app, secret=SECRET)  # wrong: call-arg | reportCallIssue
SessionMiddleware(app, store=memory)  # wrong: call-arg | reportCallIssue
SessionMiddleware(app, secret=SECRET, stroe=memory)  # wrong: call-arg | reportCallIssue
SessionMiddleware(app, secret=5, store=memory)  # wrong: arg-type | reportArgumentType
SessionMiddleware(app, secret=SECRET, store=7)  # wrong: arg-type | reportArgumentType
M(app, secret=SECRET, store=memory, cookie_name=3)  # wrong: arg-type | reportArgumentType
M(app, secret=SECRET, store=memory, cookie="sid")  # wrong: arg-type | reportArgumentType
M(app, secret=SECRET, store=memory, cookie={"path": 5})  # wrong: arg-type | reportArgumentType
M(app, secret=SECRET, store=memory, save_uninitialized="no")  # wrong: arg-type | reportArgumentType
M(app, secret=SECRET, store=memory, resave="no")  # wrong: arg-type | reportArgumentType
M(app, secret=SECRET, store=memory, rolling="yes")  # wrong: arg-type | reportArgumentType
M(app, secret=SECRET, store=memory, unset="delete")  # wrong: arg-type | reportArgumentType
M(app, secret=SECRET, store=memory, genid="random")  # wrong: arg-type | reportArgumentType
M(app, secret=SECRET, store=memory, trust_proxy="yes")  # wrong: arg-type | reportArgumentType
M(app, secret=SECRET, store=memory, absolute_timeout="1")  # wrong: arg-type | reportArgumentType
M(app, secret=SECRET, store=memory, max_session_bytes=1e6)  # wrong: arg-type | reportArgumentType
M(app, secret=SECRET, store=memory, cache_headers=None)  # wrong: arg-type | reportArgumentType
M(app, secret=SECRET, store=memory, owner_key=5)  # wrong: arg-type | reportArgumentType
M(app, secret=SECRET, store=memory, drop_at_login="token")  # wrong: arg-type | reportArgumentType
M(app, secret=SECRET, store=memory, keep_on_error=None)  # wrong: arg-type | reportArgumentType
M(app, secret=SECRET, store=memory, client_info=None)  # wrong: arg-type | reportArgumentType
M(app, secret=SECRET, store=memory, on_event="log")  # wrong: arg-type | reportArgumentType
M(app, secret=SECRET, store=memory, if_unavailable=503)  # wrong: arg-type | reportArgumentType
M(app, secret=SECRET, store=memory, environ_key=b"session")  # wrong: arg-type | reportArgumentType
M(app, secret=SECRET, store=memory, clock=0)  # wrong: arg-type | reportArgumentType
SessionMiddleware(app, **from_beaker({}, "data", ttl=60, rolling=True))
from_beaker({}, "data", tll=60)  # wrong: call-arg | reportCallIssue


# The session.
def use(session: Session, store: Store) -> None:
    assert_type(session.cookie.samesite, "str | None")
    assert_type(session.cookie.path, str)
    assert_type(session.cookie.httponly, bool)
    assert_type(session.cookie.max_age, "float | None")
    assert_type(session.cookie.expires, "datetime | None")
    session.cookie.samesite = "strict"
    session.cookie.max_age = LIFE
    session.cookie.samesite = "lxa"  # wrong: assignment | reportAttributeAccessIssue
    session.cookie.httponly = None  # wrong: assignment | reportAttributeAccessIssue
    session.cookie.max_age = "1"  # wrong: assignment | reportAttributeAccessIssue
    session.cookie.http_only = True  # wrong: attr-defined | reportAttributeAccessIssue
    session.login("ada")
    session.login(5)
    session.login(None)  # wrong: arg-type | reportArgumentType
    assert_type(session.owner, "str | None")
    session.owner = "ada"
    assert_type(session.handle, str)
    session.lose()  # wrong: attr-defined | reportAttributeAccessIssue
    record = store.load("key")
    if record is not None:
        assert_type(record.expires_at, float)
    store.delete_owner("ada", keep=[session])


# Pyramid.
SessionFactory(secret=SECRET, store=memory)
SessionFactory(secret=SECRET)  # wrong: call-arg | reportCallIssue
SessionFactory(secret=SECRET, store=memory, rolling="yes")  # wrong: arg-type | reportArgumentType


def view(request: Request) -> None:
    assert_type(request.session, PyramidSession)
    assert_type(request.session.new, bool)
    rotate: Callable[[], None] = request.session.rotate
    rotate()
    request.session.rotate(5)  # wrong: call-arg | reportCallIssue
