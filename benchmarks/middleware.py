"""What a session costs a request, by direct WSGI calls: ours, and those of other packages.

    python -m benchmarks.middleware [--directory DIR] [--rounds N] [--requests N]

A request does not look at its session, reads one key, or writes one.  Each line is the median
time of the whole request, and what of it exceeds a bare app of the same framework without
sessions, so that a framework's own cost does not count against its sessions.  The cases take
turns, round by round, so that a machine whose speed drifts slows all of them; the durable case
stands beside the same bytes written and synced by hand into a file reserved ahead.  None of the
others is durable; they run as they are configured by default, and are left out where they are not
installed.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from benchmarks.disk import by_hand
from litesess import MemoryStore, SessionMiddleware, WALStore
from litesess.engine.fs import FileSystem
from litesess.ids import new_secret

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

HEADERS: Final = (("Content-Type", "text/plain"), ("Content-Length", "2"))
WARM_UP: Final = 0.03  # seconds
OURS: Final = "litesess, WALStore"
OURS_QUICK: Final = "litesess, WALStore(durable=False)"
OURS_IN_MEMORY: Final = "litesess, MemoryStore"
#: At most so many microseconds over bare.
WANTED: Final = {
    ("untouched", OURS): 2,
    ("untouched", OURS_QUICK): 2,
    ("untouched", OURS_IN_MEMORY): 2,
    ("one key read", OURS): 30,
    ("one key read", OURS_QUICK): 30,
    ("one key read", OURS_IN_MEMORY): 30,
    ("one key written", OURS_QUICK): 60,
    ("one key written", OURS_IN_MEMORY): 60,
}


def log_in(session: Any) -> None:
    """Begin a session of some 380 bytes."""
    session.update({"user": "ada", "count": 0, "cart": ["x" * 60] * 5})


def read(session: Any) -> None:
    """Look at one key."""
    assert session["user"] == "ada"


def write(session: Any) -> None:
    """Count one key up."""
    session["count"] = session["count"] + 1


#: What becomes of the session, by the request's path; None: nobody looks at it.
USES: Final[dict[str, Callable[[Any], None] | None]] = {
    "untouched": None,
    "read": read,
    "write": write,
    "login": log_in,
}
REQUESTS: Final = {"untouched": "untouched", "one key read": "read", "one key written": "write"}


class Candidate(NamedTuple):
    """An app with sessions, and the same without."""

    bare: WSGIApplication
    app: WSGIApplication


def wsgi_app(key: str, after_write: Callable[[Any], None] | None = None) -> WSGIApplication:
    """Return an app that knows no framework, whose session is ``environ[key]``."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        use = USES[environ["PATH_INFO"][1:]]
        if use is not None:
            use(environ[key])
            if after_write is not None and use is not read:
                after_write(environ[key])
        start_response("200 OK", [*HEADERS])  # Beaker adds to the very list
        return [b"ok"]

    return app


def ours(store: Any) -> Candidate:
    """Return our middleware over *store*."""
    app = wsgi_app("litesess.session")
    return Candidate(app, SessionMiddleware(app, secret=new_secret(), store=store))


def beaker(directory: str) -> Candidate:
    """Return Beaker's file sessions, saved by the app; what is only read is stored again, too."""
    middleware = import_module("beaker.middleware")
    app = wsgi_app("beaker.session", lambda session: session.save())
    options = {
        "session.type": "file",
        "session.data_dir": f"{directory}/beaker",
        "session.secret": new_secret(),
    }
    return Candidate(app, middleware.SessionMiddleware(app, options))


def flask(directory: str) -> Candidate:
    """Return Flask-Session's sessions in cachelib's files, stored again by every request."""
    framework, extension = import_module("flask"), import_module("flask_session")
    cachelib = import_module("cachelib")

    def view(name: str) -> Any:
        use = USES[name]
        if use is not None:
            use(framework.session)
        return framework.Response("ok", content_type="text/plain")

    def make_app() -> Any:
        app = framework.Flask(__name__)
        app.add_url_rule("/<name>", "view", view)
        return app

    bare, app = make_app(), make_app()
    files = cachelib.FileSystemCache(f"{directory}/flask")
    app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=files)
    extension.Session(app)
    return Candidate(bare, app)


def django(directory: str) -> Candidate:
    """Return Django's file sessions."""
    settings = import_module("django.conf").settings
    make_response = import_module("django.http").HttpResponse
    make_app = import_module("django.core.handlers.wsgi").WSGIHandler

    def view(request: Any, name: str) -> Any:
        use = USES[name]
        if use is not None:
            use(request.session)
        return make_response("ok", content_type="text/plain")

    files = Path(directory, "django")
    files.mkdir()
    settings.configure(
        SECRET_KEY=new_secret(),
        ROOT_URLCONF=(import_module("django.urls").path("<name>", view),),
        SESSION_ENGINE="django.contrib.sessions.backends.file",
        SESSION_FILE_PATH=str(files),
        MIDDLEWARE=[],
    )
    bare = make_app()
    settings.MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
    return Candidate(bare, make_app())


def pyramid(_directory: str) -> Candidate:
    """Return Pyramid's sessions, which are nowhere but in the cookie, sent again when read."""
    config = import_module("pyramid.config")
    make_response = import_module("pyramid.response").Response
    sessions = import_module("pyramid.session")

    def view(request: Any) -> Any:
        use = USES[request.matchdict["name"]]
        if use is not None:
            use(request.session)
        return make_response("ok", content_type="text/plain")

    def make_app(factory: Any) -> Any:
        configurator = config.Configurator(session_factory=factory)
        configurator.add_route("any", "/{name}")
        configurator.add_view(view, route_name="any")
        return configurator.make_wsgi_app()

    # The client keeps its first cookie, which must live for as long as this may run.
    factory = sessions.SignedCookieSessionFactory(new_secret(), timeout=86_400)
    return Candidate(make_app(None), make_app(factory))


PEERS: Final[dict[str, Callable[[str], Candidate]]] = {
    "Beaker, files": beaker,
    "Flask-Session, cachelib files": flask,
    "Django, files": django,
    "Pyramid, signed cookie": pyramid,
}


class Client:
    """Calls an app as a server does, with one cookie."""

    def __init__(self, app: WSGIApplication, path: str, cookie: str = "") -> None:
        self._app = app
        self._environ = {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "PATH_INFO": f"/{path}",
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(),
            "wsgi.multiprocess": False,
        }
        if cookie:
            self._environ["HTTP_COOKIE"] = f"theme=dark; {cookie}; lang=en"
        self.headers: list[tuple[str, str]] = []

    def request(self) -> None:
        """Make one request.

        Raises:
            AssertionError: it was answered with an error.
        """
        body = self._app(self._environ.copy(), self._start)
        for _ in body:
            pass
        close = getattr(body, "close", None)
        if close is not None:
            close()

    def _start(self, status: str, headers: list[tuple[str, str]], *_rest: Any) -> Any:
        assert status == "200 OK", status
        self.headers = headers


def session_cookie(app: WSGIApplication) -> str:
    """Log in; return the cookie."""
    client = Client(app, "login")
    client.request()
    cookies = (value for name, value in client.headers if name.lower() == "set-cookie")
    return next(cookies).partition(";")[0]


class Counting(FileSystem):
    """Counts the syncs."""

    syncs = 0

    def sync(self, fd: int) -> None:
        """Sync, and count it."""
        type(self).syncs += 1
        FileSystem.sync(fd)


def candidates(directory: str) -> dict[str, Candidate]:
    """Return ours, and the others that are installed; say which are not."""
    found = {
        OURS: ours(WALStore(f"{directory}/durable")),
        OURS_QUICK: ours(WALStore(f"{directory}/quick", durable=False)),
        OURS_IN_MEMORY: ours(MemoryStore()),
    }
    for name, make in PEERS.items():
        try:
            found[name] = make(directory)
        except ModuleNotFoundError as error:
            print(f"{name}: left out, {error}")
    return found


def cases(candidate: Candidate) -> dict[str, Callable[[], None]]:
    """Return the requests to a candidate, and the one to its bare app."""
    cookie = session_cookie(candidate.app)
    works = {"bare": Client(candidate.bare, "untouched", cookie).request}
    for request, path in REQUESTS.items():
        works[request] = Client(candidate.app, path, cookie).request
    return works


def measure(work: Callable[[], None], count: int) -> float:
    """Return the median time of *work* in microseconds."""
    # A processor that has waited for the disk, in the case before, is slow for a while.
    began = time.perf_counter()
    while time.perf_counter() - began < WARM_UP:
        work()
    times = []
    for _ in range(count):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


def measure_all(
    directory: str, options: argparse.Namespace
) -> tuple[dict[str, dict[str, list[float]]], list[float]]:
    """Return the times of each candidate's requests, round by round, and those by hand."""
    works = {name: cases(item) for name, item in candidates(directory).items()}
    results: dict[str, dict[str, list[float]]] = {
        name: {request: [] for request in requests} for name, requests in works.items()
    }
    write_by_hand = by_hand(directory, 520)
    hand = []
    for _ in range(options.rounds):
        hand.append(measure(write_by_hand, options.requests))
        for name, requests in works.items():
            for request, work in requests.items():
                results[name][request].append(measure(work, options.requests))
    return results, hand


def syncs_per_write(directory: str, count: int = 200) -> float:
    """Return how many syncs a request that writes one key costs, one client at a time."""
    store = WALStore(f"{directory}/counted")
    store._engine._entrance.fs = Counting()  # noqa: SLF001  # only here, to count
    app = ours(store).app
    client = Client(app, "write", session_cookie(app))
    before = Counting.syncs
    for _ in range(count):
        client.request()
    after = Counting.syncs
    store.close()
    return (after - before) / count


def report(name: str, values: list[float], bare: list[float] | None, wanted: str = "") -> None:
    """Print one line: medians of the rounds."""
    over = ""
    if bare is not None:
        over = f"{statistics.median(a - b for a, b in zip(values, bare, strict=True)):.2f}"
    spread = f"{min(values):.2f}-{max(values):.2f}"
    print(f"  {name:34} {statistics.median(values):9.2f} {over:>10} {spread:>17}   {wanted}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--directory", help="on the disk to measure (a temporary one)")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=300, help="in each round of each case")
    options = parser.parse_args()
    directory = tempfile.mkdtemp(dir=options.directory)
    try:
        results, hand = measure_all(directory, options)
        print(f"{'':36} {'us':>9} {'over bare':>10} {'spread':>17}   wanted over bare")
        for request in ("bare", *REQUESTS):
            print(request)
            for name, values in results.items():
                wanted = WANTED.get((request, name))
                report(
                    name,
                    values[request],
                    None if request == "bare" else values["bare"],
                    "" if wanted is None else f"<= {wanted}",
                )
        report("the same bytes by hand", hand, None)
        durable = results[OURS]["one key written"]
        ratios = [ours / theirs for ours, theirs in zip(durable, hand, strict=True)]
        print(f"durable write over by hand: {statistics.median(ratios):.2f}, wanted <= 1.3")
        print(f"syncs per write: {syncs_per_write(directory):.3f}")
    finally:
        shutil.rmtree(Path(directory))


if __name__ == "__main__":
    main()
