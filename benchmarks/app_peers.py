"""The same small app with the sessions of several packages, and without any.

Each is set up as its documentation recommends for production.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from litesess import MemoryStore, SessionMiddleware, Store, WALStore

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: All workers sign with it, and no real session does.  Pyramid wants 64 characters.
SECRET: Final = "".join(map(chr, range(40, 104)))
TEXT: Final = "text/plain"
OK_HEADERS: Final = (("Content-Type", TEXT), ("Content-Length", "2"))


def log_in(session: Any) -> None:
    """Begin a session of some 380 bytes."""
    session.update({"user": "ada", "count": 0, "cart": ["x" * 60] * 5})


def read(session: Any) -> None:
    """Read one key."""
    assert session["user"] == "ada"


def increment(session: Any) -> None:
    """Count one key up."""
    session["count"] = session["count"] + 1


def increment_atomically(session: Any) -> None:
    """Count one key up, and again if another request was faster; only litesess has this."""
    session.atomic(increment)


def count(session: Any) -> str:
    """Return the count as text."""
    return str(session["count"])


#: The use of the session, by the request's path; None: the app does not use it.
USES: Final[dict[str, Callable[[Any], str | None] | None]] = {
    "untouched": None,
    "read": read,
    "increment": increment,
    "atomic": increment_atomically,
    "login": log_in,
    "count": count,
}
WRITING: Final = ("increment", "login")


def answer(path: str, find_session: Callable[[], Any]) -> str:
    """Do the work that *path* names; return the body.

    Args:
        path: one of :data:`USES`.
        find_session: returns the session; called only if it is used, as the call can be costly.
    """
    use = USES[path]
    return "ok" if use is None else use(find_session()) or "ok"


def nothing() -> None:
    """Close nothing."""


@dataclass(frozen=True)
class App:
    """A WSGI app, and the function that closes it."""

    serve: WSGIApplication
    close: Callable[[], None] = nothing


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An app to measure.

    Attributes:
        make: takes an empty directory of its own, returns the app.
        bare: the name of the same framework's app without sessions.
        note: its set-up, and the features that it lacks.
        needs: modules that must be there.
        has_sessions: it has sessions; False for the bare apps.
        is_atomic: its sessions can count requests that overlap.
        is_shared: several processes see the same sessions.
    """

    make: Callable[[Path], App]
    bare: str
    note: str
    needs: tuple[str, ...] = ()
    has_sessions: bool = True
    is_atomic: bool = False
    is_shared: bool = True


def wsgi_app(
    key: str = "", after_write: Callable[[Any], None] | None = None
) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    """Return an app without a framework, with its session in ``environ[key]``."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"][1:]
        # Not answer(): its work would be a good part of a request that uses no session.
        use = USES[path]
        body = None if use is None else use(environ[key])
        if after_write is not None and path in WRITING:
            after_write(environ[key])
        if body is not None:
            start_response("200 OK", [("Content-Type", TEXT), ("Content-Length", str(len(body)))])
            return [body.encode()]
        start_response("200 OK", [*OK_HEADERS])  # a new list, because Beaker appends to it
        return [b"ok"]

    return app


def bare(_directory: Path) -> App:
    """Return an app without a framework and without sessions."""
    return App(wsgi_app())


def ours(make_store: Callable[[Path], Store]) -> Callable[[Path], App]:
    """Return a function that makes the app with litesess's middleware over a store."""

    def make(directory: Path) -> App:
        app = wsgi_app("litesess.session")
        middleware = SessionMiddleware(app, secret=SECRET, store=make_store(directory))
        return App(middleware, middleware.close)

    return make


def beaker(directory: Path) -> App:
    """Return Beaker's file sessions, saved by the app when it has written."""
    middleware = import_module("beaker.middleware")
    options = {
        "session.type": "file",
        "session.data_dir": str(directory),
        "session.secret": SECRET,
    }
    app = wsgi_app("beaker.session", lambda session: session.save())
    return App(middleware.SessionMiddleware(app, options))


def flask_app() -> Any:
    """Return a Flask app; without a secret, it has no sessions of its own."""
    flask = import_module("flask")
    app = flask.Flask(__name__)

    def view(path: str) -> Any:
        return flask.Response(answer(path, lambda: flask.session), content_type=TEXT)

    app.add_url_rule("/<path>", "view", view)
    return app


def bare_flask(_directory: Path) -> App:
    """Return a Flask app without sessions."""
    return App(flask_app())


def flask_with_litesess(directory: Path) -> App:
    """Return a Flask app with our extension."""
    app = flask_app()
    app.config.update(SECRET_KEY=SECRET, LITESESS_PATH=directory / "data")
    return App(app, import_module("litesess.integrations.flask").Litesess(app).close)


def flask_session(directory: Path) -> App:
    """Return a Flask app with Flask-Session's sessions in cachelib's files."""
    app = flask_app()
    files = import_module("cachelib").FileSystemCache(str(directory))
    app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=files)
    import_module("flask_session").Session(app)
    return App(app)


def django_app(directory: Path, middleware: tuple[str, ...], **options: Any) -> App:
    """Return a Django app.

    The settings are those of the whole process, so a process has one app of each kind.  The
    database of all lies in the directory of the first app.
    """
    settings = import_module("django.conf").settings
    make_response = import_module("django.http").HttpResponse

    def view(request: Any, path: str) -> Any:
        return make_response(answer(path, lambda: request.session), content_type=TEXT)

    if not settings.configured:
        settings.configure(
            SECRET_KEY=SECRET,
            ROOT_URLCONF=(import_module("django.urls").path("<path>", view),),
            INSTALLED_APPS=["django.contrib.sessions"],
            DATABASES={"default": sqlite(directory / "sessions.sqlite3")},
        )
        import_module("django").setup()
    for name, value in {**options, "MIDDLEWARE": middleware}.items():
        setattr(settings, name, value)
    return App(import_module("django.core.handlers.wsgi").WSGIHandler())


def sqlite(path: Path) -> dict[str, Any]:
    """Return Django's settings of its database.  Source: Django's docs/ref/databases."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
        },
    }


DJANGO_SESSIONS: Final = ("django.contrib.sessions.middleware.SessionMiddleware",)


def bare_django(directory: Path) -> App:
    """Return a Django app without sessions."""
    return django_app(directory, ())


def django_files(directory: Path) -> App:
    """Return a Django app with its file sessions."""
    options = {
        "SESSION_ENGINE": "django.contrib.sessions.backends.file",
        "SESSION_FILE_PATH": str(directory),
    }
    return django_app(directory, DJANGO_SESSIONS, **options)


def django_sqlite(directory: Path) -> App:
    """Return a Django app with its database sessions, in SQLite."""
    engine = "django.contrib.sessions.backends.db"
    app = django_app(directory, DJANGO_SESSIONS, SESSION_ENGINE=engine)
    import_module("django.core.management").call_command("migrate", verbosity=0)
    close = import_module("django.db").connections.close_all
    close()  # a connection of SQLite's must not be carried over a fork
    return App(app.serve, close)


def pyramid_app(session_factory: Any) -> App:
    """Return a Pyramid app."""
    make_response = import_module("pyramid.response").Response

    def view(request: Any) -> Any:
        path = request.matchdict["path"]
        return make_response(answer(path, lambda: request.session), content_type=TEXT)

    config = import_module("pyramid.config").Configurator(session_factory=session_factory)
    config.add_route("any", "/{path}")
    config.add_view(view, route_name="any")
    return App(config.make_wsgi_app())


def bare_pyramid(_directory: Path) -> App:
    """Return a Pyramid app without sessions."""
    return pyramid_app(None)


def pyramid_cookie(_directory: Path) -> App:
    """Return a Pyramid app with its sessions in signed cookies."""
    make_factory = import_module("pyramid.session").SignedCookieSessionFactory
    # The clients keep their first cookies, which must live for as long as this may run.
    return pyramid_app(make_factory(SECRET, timeout=86_400))


BARE: Final = "bare app"
BARE_FLASK: Final = "bare app, Flask"
BARE_DJANGO: Final = "bare app, Django"
BARE_PYRAMID: Final = "bare app, Pyramid"
FLASK: Final = ("flask",)
DJANGO: Final = ("django",)
PYRAMID: Final = ("pyramid",)
NO_SESSIONS: Final = "No sessions."

CANDIDATES: Final = {
    "litesess": Candidate(
        make=ours(lambda directory: WALStore(directory / "data")),
        bare=BARE,
        note="WALStore by default.  An acknowledged write survives a power cut.  A session is"
        " written if a value has changed.  If two requests change different keys, both changes are"
        " kept.  If they change the same key, the last one wins; atomic() is for counters.",
        is_atomic=True,
    ),
    "litesess, not durable": Candidate(
        make=ours(lambda directory: WALStore(directory / "data", durable=False)),
        bare=BARE,
        note="WALStore(durable=False).  A power cut loses the last seconds, a killed process loses"
        " nothing.  The rest is as by default.",
        is_atomic=True,
    ),
    "litesess, MemoryStore": Candidate(
        make=ours(lambda _directory: MemoryStore()),
        bare=BARE,
        note="For one process only.  All sessions end with the process.",
        is_atomic=True,
        is_shared=False,
    ),
    "litesess, Flask": Candidate(
        make=flask_with_litesess,
        bare=BARE_FLASK,
        note="The extension of litesess for Flask.  The rest is as by default.",
        needs=FLASK,
        is_atomic=True,
    ),
    "Beaker, files": Candidate(
        make=beaker,
        bare=BARE,
        note="type=file, and the app calls save().  No fsync.  A request that uses its session,"
        " if only to read, writes the whole session again (save_accessed_time, its default).  The"
        " last writer wins, even one that only read.  Sessions are pickled.  Expired sessions are"
        " never deleted.",
        needs=("beaker",),
    ),
    "Flask-Session, cachelib files": Candidate(
        make=flask_session,
        bare=BARE_FLASK,
        note="FileSystemCache by default.  No fsync.  Each request, even one that does not use its"
        " session, loads the session and writes all of it again (SESSION_REFRESH_EACH_REQUEST,"
        " Flask's default).  The last writer wins.  Sessions are pickled.  If there are more than"
        " 500 sessions, some are deleted.  A failed write is only logged.",
        needs=(*FLASK, "flask_session", "cachelib"),
    ),
    "Django, files": Candidate(
        make=django_files,
        bare=BARE_DJANGO,
        note="backends.file.  No fsync.  If a key is set, the whole session is written.  The last"
        " writer wins.  A failed write is ignored without a message.  Expired sessions are deleted"
        " when an operator runs clearsessions.",
        needs=DJANGO,
    ),
    "Django, SQLite": Candidate(
        make=django_sqlite,
        bare=BARE_DJANGO,
        note="backends.db in WAL mode with synchronous=FULL, so writes are durable."
        "  transaction_mode=IMMEDIATE, and persistent connections.  If a key is set, the whole"
        " session is written.  The last writer wins.  Expired sessions are deleted when an operator"
        " runs clearsessions.",
        needs=DJANGO,
    ),
    "Pyramid, signed cookie": Candidate(
        make=pyramid_cookie,
        bare=BARE_PYRAMID,
        note="SignedCookieSessionFactory.  Nothing is stored on the server.  The data are in the"
        " cookie: 4 kB at most, and the client can read them and send an old cookie again.  A"
        " request that uses its session answers with the cookie.  The last answer wins.  A session"
        " ends only by its age.",
        needs=PYRAMID,
    ),
    BARE: Candidate(
        make=bare, bare=BARE, note=f"{NO_SESSIONS}  No framework.", has_sessions=False
    ),
    BARE_FLASK: Candidate(
        make=bare_flask, bare=BARE_FLASK, note=NO_SESSIONS, needs=FLASK, has_sessions=False
    ),
    BARE_DJANGO: Candidate(
        make=bare_django, bare=BARE_DJANGO, note=NO_SESSIONS, needs=DJANGO, has_sessions=False
    ),
    BARE_PYRAMID: Candidate(
        make=bare_pyramid, bare=BARE_PYRAMID, note=NO_SESSIONS, needs=PYRAMID, has_sessions=False
    ),
}  # fmt: skip


def installed() -> Iterator[tuple[str, Candidate]]:
    """Yield the installed candidates; name the rest on stderr."""
    for name, candidate in CANDIDATES.items():
        missing = [module for module in candidate.needs if find_spec(module) is None]
        if missing:
            print(f"{name} is left out: no module {', '.join(missing)}", file=sys.stderr)
        else:
            yield name, candidate


def notes_of(names: Iterable[str]) -> dict[str, str]:
    """Return the notes of candidates."""
    return {name: CANDIDATES[name].note for name in names}
