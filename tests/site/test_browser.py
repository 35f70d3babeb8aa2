"""Chromium and gunicorn with two workers: what users see, what their browsers keep and send."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.tools.browsers import MISSING, Browser, tls_proxy
from tests.tools.servers import EXAMPLES, SECRET, TOOLS, Server, gunicorn

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not there: apt install {' '.join(MISSING)}"),
]

ADA = ("ada", "engine")


class Served(NamedTuple):
    """A server, and the proxy before it."""

    server: Server
    proxy: Server

    def http(self, host: str) -> str:
        return f"http://{host}:{self.server.port}"

    def https(self, host: str) -> str:
        return f"https://{host}:{self.proxy.port}"


Serve = Callable[..., Served]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Browser]]:
    """Return what starts browsers, once each: they serve all tests of this module."""
    started: dict[int, Browser] = {}
    with ExitStack() as stack:

        def start(number: int) -> Browser:
            if number not in started:
                profile = tmp_path_factory.mktemp("browser") / "profile"
                browser = Browser(profile, f"--user-agent=Browser {number}")
                started[number] = stack.enter_context(browser)
            return started[number]

        yield start


@pytest.fixture
def browsers(
    start: Callable[[int], Browser], request: pytest.FixtureRequest
) -> Iterator[list[Browser]]:
    """Browsers without cookies, as many as asked for; a failed test leaves a picture of each."""
    browsers = [start(number) for number in range(1, getattr(request, "param", 1) + 1)]
    failed = request.session.testsfailed
    yield browsers
    for number, browser in enumerate(browsers, 1):
        if request.session.testsfailed > failed:
            browser.picture(f"FAILED {number}")
        browser.forget()


@pytest.fixture
def browser(browsers: list[Browser]) -> Browser:
    return browsers[0]


def serve_example(app: str, directory: Path, example: Path = EXAMPLES) -> Server:
    """Return the server of an example, with two workers."""
    # A stop does not wait for what the browser keeps open.
    options = ["-w", "2", "--graceful-timeout", "1", "--pythonpath", str(example)]
    command = gunicorn(app, directory, *options)
    environment = {"EXAMPLE_DATA": str(directory / "data"), "SESSION_SECRET": SECRET}
    return Server(command, directory, environment)


@pytest.fixture(scope="module")
def login(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("login")
    with serve_example("app:application", directory, EXAMPLES / "login") as server:
        yield server


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Return what serves the tests' own app with given options of the middleware, and a proxy."""
    started: dict[str, Served] = {}
    with ExitStack() as stack:

        def serve(**options: object) -> Served:
            given = json.dumps(options)
            if given not in started:
                directory = tmp_path_factory.mktemp("own")
                server = stack.enter_context(serve_own(directory, given))
                started[given] = Served(server, stack.enter_context(tls_proxy(server, directory)))
            return started[given]

        yield serve


def serve_own(directory: Path, options: str) -> Server:
    # gunicorn itself believes no proxy: the middleware is to decide.
    distrust = ["--forwarded-allow-ips", "192.0.2.1"]
    command = gunicorn("browser_app:application", TOOLS, "-w", "2", "--preload", *distrust)
    environment = {
        "BROWSER_OPTIONS": options,
        "EXAMPLE_DATA": str(directory / "data"),
        "SESSION_SECRET": SECRET,
    }
    return Server(command, directory, environment)


class TestLogin:
    def test_a_login_outlives_reloads_and_every_end_of_the_server(
        self, browser: Browser, tmp_path: Path
    ) -> None:
        with serve_example("app:application", tmp_path, EXAMPLES / "login") as server:
            browser.visit(server.url)
            browser.picture("before the login")
            browser.log_in(*ADA)
            assert browser.heading == "Hello ada"
            browser.picture("after the login")
            browser.reload()
            assert browser.heading == "Hello ada"
            server.kill()
            with server:
                browser.reload()
                assert browser.heading == "Hello ada"
                server.stop()
            with server:
                browser.reload()
                assert browser.heading == "Hello ada"
                browser.picture("after two restarts")

    def test_a_logout_in_another_tab_is_one_in_this(self, browser: Browser, login: Server) -> None:
        browser.visit(login.url)
        browser.log_in(*ADA)
        with browser.other_tab():
            browser.visit(login.url)
            assert browser.heading == "Hello ada"
            browser.press("Log out")
            assert browser.heading == "Hello stranger"
        assert browser.heading == "Hello ada"  # a page that was there before
        browser.reload()
        assert browser.heading == "Hello stranger"
        assert not browser.cookies

    def test_a_cookie_from_before_the_logout_is_worth_nothing(
        self, browser: Browser, login: Server
    ) -> None:
        browser.visit(login.url)
        browser.log_in(*ADA)
        cookies = browser.cookies
        browser.press("Log out")
        assert not browser.cookies
        browser.cookies = cookies
        browser.reload()
        assert browser.heading == "Hello stranger"

    def test_scripts_do_not_see_the_cookie(self, browser: Browser, login: Server) -> None:
        browser.visit(login.url)
        browser.log_in(*ADA)
        (cookie,) = browser.cookies
        assert (cookie["name"], cookie["httpOnly"]) == ("litesess.sid", True)
        assert browser.script_cookies == ""

    def test_scripts_see_a_cookie_that_is_not_for_http_only(
        self, browser: Browser, serve: Serve
    ) -> None:
        site = serve(cookie={"httponly": False}).http("127.0.0.1")
        browser.visit(f"{site}/login?ada")
        assert browser.script_cookies.startswith("litesess.sid=")

    def test_who_is_remembered_stays_logged_in_when_the_browser_is_started_again(
        self, tmp_path: Path
    ) -> None:
        with serve_example("remember_me:application", tmp_path) as server:
            others = f"http://localhost:{server.port}"  # another host, another cookie
            with Browser(tmp_path / "profile") as browser:
                browser.visit(server.url)
                browser.type("name", "ada")
                browser.tick("remember")
                browser.picture("the form")
                browser.press("Log in")
                browser.visit(others)
                browser.type("name", "alan")
                browser.press("Log in")
                for url, name in (server.url, "ada"), (others, "alan"):
                    browser.visit(url)
                    assert browser.text.startswith(f"{name}, page ")
            with Browser(tmp_path / "profile") as browser:
                browser.visit(server.url)
                assert browser.text.startswith("ada, page ")
                browser.picture("remembered")
                browser.visit(others)
                assert "Remember me" in browser.text


class TestBackButton:
    @pytest.mark.parametrize(
        ("app", "example", "private", "public"),
        [
            ("app:application", EXAMPLES / "login", "Hello ada", "Hello stranger"),
            ("devices:application", EXAMPLES / "devices", "Your devices, ada", "Log in"),
            ("flask_app:app", EXAMPLES, "Hello ada", "Hello stranger"),
        ],
        ids=["login", "devices", "flask"],
    )
    def test_shows_nothing_of_who_has_logged_out_of(
        self,
        browser: Browser,
        tmp_path: Path,
        app: str,
        example: Path,
        private: str,
        public: str,
    ) -> None:
        with serve_example(app, tmp_path, example) as server:
            browser.visit(server.url)
            browser.log_in(*ADA)
            # Not where the logout leads to: that page takes the place of this one.
            browser.visit(f"{server.url}/?again")
            assert browser.heading == private
            browser.press("Log out")
            assert browser.heading == public
            browser.back()
            browser.picture("after back")
            assert browser.heading == public

    @pytest.mark.parametrize(("path", "user"), [("/", "ada"), ("/private", "stranger")])
    def test_shows_what_the_app_lets_browsers_keep(
        self, browser: Browser, serve: Serve, path: str, user: str
    ) -> None:
        site = serve(trust_proxy=True).https("shop.test")
        browser.visit(f"{site}/login?ada")
        browser.visit(site + path)
        assert browser.heading == "Hello ada"
        browser.visit(f"{site}/logout")
        assert not browser.cookies
        browser.back()
        assert browser.url == site + path
        assert browser.heading == f"Hello {user}"


def taken_for(browser: Browser, elsewhere: str, target: str) -> dict[str, str]:
    """Return whom *target* takes the browser for that another site sends there, by each way."""
    users = {}
    browser.visit(f"{elsewhere}/elsewhere?{target}")
    with browser.frame():
        users["frame"] = browser.heading
    browser.press("Follow")
    users["link"] = browser.heading
    browser.visit(f"{elsewhere}/elsewhere?{target}")
    browser.press("Send")
    users["form"] = browser.heading
    browser.visit(target)
    users["typed"] = browser.heading
    return {way: heading.removeprefix("Hello ") for way, heading in users.items()}


class TestOtherSites:
    @pytest.mark.parametrize(
        ("samesite", "link"), [("lax", "ada"), ("strict", "stranger"), ("none", "ada")]
    )
    def test_bring_the_cookie_by_a_link_at_most(
        self, browser: Browser, serve: Serve, samesite: str, link: str
    ) -> None:
        """None asks for https, and is lax without."""
        served = serve(cookie={"samesite": samesite})
        site, elsewhere = served.http("127.0.0.1"), served.http("localhost")
        browser.visit(f"{site}/login?ada")
        assert taken_for(browser, elsewhere, f"{site}/") == {
            "link": link,
            "form": "stranger",
            "frame": "stranger",
            "typed": "ada",
        }

    def test_bring_it_always_over_https_if_that_is_wanted(
        self, browser: Browser, serve: Serve
    ) -> None:
        served = serve(trust_proxy=True, cookie={"samesite": "none"})
        site, elsewhere = served.https("shop.test"), served.https("other.test")
        browser.visit(f"{site}/login?ada")
        users = taken_for(browser, elsewhere, f"{site}/")
        assert users == dict.fromkeys(users, "ada")

    def test_log_nobody_out(self, browser: Browser, serve: Serve, login: Server) -> None:
        browser.visit(login.url)
        browser.log_in(*ADA)
        browser.visit(f"{serve().http('localhost')}/elsewhere?{login.url}/logout")
        browser.picture("another site")
        browser.press("Send")
        # Where that leads to: a page that is only looked at gets the cookie.
        assert browser.heading == "Hello ada"

    def test_each_have_a_partitioned_session_of_their_own(
        self, browser: Browser, serve: Serve
    ) -> None:
        served = serve(trust_proxy=True, cookie={"samesite": "none", "partitioned": True})
        shop, other, third = map(served.https, ["shop.test", "other.test", "third.test"])
        browser.visit(f"{other}/elsewhere?{shop}/login?ada")
        with browser.frame():
            assert browser.heading == "Hello ada"
        (cookie,) = browser.cookies
        assert cookie["partitionKey"]["topLevelSite"] == "https://other.test"
        for embedding, user in (other, "ada"), (third, "stranger"):
            browser.visit(f"{embedding}/elsewhere?{shop}/")
            with browser.frame():
                assert browser.heading == f"Hello {user}"
        browser.visit(shop)
        assert browser.heading == "Hello stranger"


class TestHttps:
    @pytest.mark.parametrize("name", ["__Host-sid", "__Secure-sid"])
    def test_a_login_behind_a_trusted_proxy_is_secure(
        self, browser: Browser, serve: Serve, name: str
    ) -> None:
        site = serve(trust_proxy=True, cookie_name=name).https("shop.test")
        browser.visit(f"{site}/login?ada")
        browser.visit(site)
        assert browser.heading == "Hello ada"
        (cookie,) = browser.cookies
        assert (cookie["name"], cookie["secure"]) == (name, True)
        assert (cookie["domain"], cookie["path"]) == ("shop.test", "/")
        browser.visit(f"{site}/logout")
        assert not browser.cookies

    def test_a_proxy_that_is_not_trusted_makes_nothing_secure(
        self, browser: Browser, serve: Serve
    ) -> None:
        served = serve()
        browser.visit(f"{served.https('shop.test')}/login?ada")
        (cookie,) = browser.cookies
        assert not cookie["secure"]
        assert "set trust_proxy=True" in served.server.output

    def test_plain_http_neither_gets_nor_replaces_a_secure_cookie(
        self, browser: Browser, serve: Serve
    ) -> None:
        served = serve(trust_proxy=True)
        secure, plain = served.https("shop.test"), served.http("shop.test")
        browser.visit(f"{secure}/login?ada")
        browser.visit(plain)
        assert browser.heading == "Hello stranger"
        browser.visit(f"{plain}/login?mallory")  # by the name for http, which counts there alone
        for site, user in (plain, "mallory"), (secure, "ada"), (plain, "stranger"):
            browser.visit(site)
            assert browser.heading == f"Hello {user}"

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_chromium_takes_the_loopback_for_secure(
        self, browser: Browser, serve: Serve, host: str
    ) -> None:
        """So a test there shows nothing of what plain http does elsewhere."""
        served = serve(trust_proxy=True)
        browser.visit(f"{served.https(host)}/login?ada")
        assert browser.cookies[0]["secure"]
        browser.visit(served.http(host))
        assert browser.heading == "Hello ada"
        browser.visit(f"{served.http(host)}/login?mallory")
        browser.visit(served.https(host))
        assert browser.heading == "Hello mallory"


class TestSeveralCookies:
    """A neighbour, ``neighbour.shop.test``, plants cookies for ``shop.test``."""

    @staticmethod
    def cookie_of(browser: Browser, site: str, user: str) -> str:
        """Log in, and return the cookie's value, which the browser forgets."""
        browser.visit(f"{site}/login?{user}")
        (cookie,) = browser.cookies
        browser.forget()
        return cookie["value"]

    def test_over_https_a_neighbour_plants_nothing_that_counts(
        self, browser: Browser, serve: Serve
    ) -> None:
        served = serve(trust_proxy=True)
        site, neighbour = map(served.https, ["shop.test", "neighbour.shop.test"])
        by_http = self.cookie_of(browser, served.http("shop.test"), "mallory")
        by_https = self.cookie_of(browser, site, "mallory")
        for user in "ada", None:
            if user:
                browser.visit(f"{site}/login?{user}")
            for name in "__Host-litesess.sid", "litesess.sid":
                for value in by_http, by_https:
                    browser.visit(neighbour)
                    for path in "/", "/login":
                        planted = f"{name}={value}; Domain=shop.test; Path={path}; Secure"
                        browser.set_by_script(planted)
                    browser.visit(site)
                    assert browser.heading == f"Hello {user or 'stranger'}"
            browser.visit(f"{site}/logout")

    def test_one_that_is_not_ours_changes_nothing(self, browser: Browser, serve: Serve) -> None:
        site, neighbour = map(serve().http, ["shop.test", "neighbour.shop.test"])
        cookie = self.cookie_of(browser, site, "mallory")
        browser.visit(f"{site}/login?ada")
        for value in "forged", cookie[:-1], "":
            browser.visit(neighbour)
            browser.set_by_script(f"litesess.sid={value}; Domain=shop.test; Path=/")
            browser.visit(site)
            assert len(browser.cookies) == 2
            assert browser.heading == "Hello ada"

    @pytest.mark.parametrize("path", ["/", "/private"])
    def test_a_request_with_two_live_sessions_has_neither(
        self, browser: Browser, serve: Serve, path: str
    ) -> None:
        site, neighbour = map(serve().http, ["shop.test", "neighbour.shop.test"])
        planted = self.cookie_of(browser, site, "mallory")
        browser.visit(f"{site}/login?ada")
        browser.visit(neighbour)
        browser.set_by_script(f"litesess.sid={planted}; Domain=shop.test; Path={path}")
        browser.visit(f"{site}/private")
        assert browser.heading == "Hello stranger"

    def test_nobody_plants_one_whose_name_begins_with_host(
        self, browser: Browser, serve: Serve
    ) -> None:
        served = serve(trust_proxy=True, cookie_name="__Host-sid")
        site, neighbour = map(served.https, ["shop.test", "neighbour.shop.test"])
        planted = self.cookie_of(browser, site, "mallory")
        browser.visit(f"{site}/login?ada")
        browser.visit(neighbour)
        browser.set_by_script(f"__Host-sid={planted}; Secure; Path=/; Domain=shop.test")
        assert len(browser.cookies) == 1
        browser.visit(site)
        assert browser.heading == "Hello ada"


@pytest.mark.parametrize("browsers", [3], indirect=True, ids=["three"])
class TestDevices:
    @pytest.fixture
    def devices(self, browsers: list[Browser], tmp_path: Path) -> Iterator[list[Browser]]:
        """Three browsers in which ada has logged in."""
        example = EXAMPLES / "devices"
        with serve_example("devices:application", tmp_path, example) as server:
            for browser in browsers:
                browser.visit(server.url)
                browser.log_in(*ADA)
                assert browser.heading == "Your devices, ada"
            yield browsers

    def test_one_is_signed_out_by_another(self, devices: list[Browser]) -> None:
        first, second, third = devices
        third.picture("three devices")
        third.press_in_row("Browser 2", "Sign out")
        assert "Browser 2" not in third.text
        for browser, heading in (second, "Log in"), (first, "Your devices, ada"):
            browser.reload()
            assert browser.heading == heading

    def test_all_others_are_signed_out(self, devices: list[Browser]) -> None:
        first, second, third = devices
        second.press("Sign out all others")
        second.picture("the only device")
        for browser, heading in (first, "Log in"), (third, "Log in"), (second, "Your devices, ada"):
            browser.reload()
            assert browser.heading == heading
        first.picture("signed out")
