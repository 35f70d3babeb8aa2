"""Real browsers for tests, and a proxy that speaks TLS; nothing but the loopback is reached."""

from __future__ import annotations

import datetime
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.tools.servers import PATIENCE, Server

T = TypeVar("T")

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
#: The Debian packages of the missing programs.
MISSING = [
    package
    for package, program in [
        ("chromium", CHROMIUM),
        ("chromium-driver", DRIVER),
        ("nginx-light", NGINX),
    ]
    if program is None
]
#: LITESESS_SCREENSHOTS names the directory that they go to (docs/testing.rst).
SCREENSHOTS = os.environ.get("LITESESS_SCREENSHOTS")

_LOOPBACK = "EXCLUDE 127.0.0.1, EXCLUDE localhost"
SWITCHES = [
    "--headless=new",
    "--no-sandbox",  # which root can't have; the pages are ours
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-proxy-server",
    # Sites with names of their own, and no way out.
    f"--host-resolver-rules=MAP *.test 127.0.0.1, MAP * ^NOTFOUND, {_LOOPBACK}",
]


class Browser:
    """Chromium with a profile of its own; it is gone at the end of the ``with`` block."""

    def __init__(self, profile: Path, *switches: str) -> None:
        """Name the browser.

        Args:
            profile: the directory of its profile, which outlives it.
            switches: for its command line.
        """
        self._profile = profile
        self._switches = switches

    def __enter__(self) -> Browser:
        options = ChromeOptions()
        options.binary_location = CHROMIUM
        options.accept_insecure_certs = True
        # SameSite must decide which cookies a frame gets, not the default of a browser's version.
        options.add_experimental_option("prefs", {"profile.cookie_controls_mode": 0})
        for switch in [*SWITCHES, *self._switches, f"--user-data-dir={self._profile}"]:
            options.add_argument(switch)
        # Both paths are given, so that nothing is looked for or downloaded.
        with patch.dict(os.environ, no_proxy="localhost"):  # where the driver listens
            self.driver = Chrome(options, ChromeService(DRIVER))
        return self

    def __exit__(self, exception: type[BaseException] | None, *_: object) -> None:
        if exception is not None:
            self.picture("FAILED")
        self.driver.quit()

    def visit(self, url: str) -> None:
        """Go to *url*, as if the user had typed it."""
        self.driver.get(url)

    def log_in(self, name: str, password: str) -> None:
        """Fill in the form that the page has, and send it."""
        self.type("name", name)
        self.type("password", password)
        self.press("Log in")

    def type(self, field: str, text: str) -> None:
        """Type *text* into a field of the page's form."""
        self._find(f"//input[@name='{field}']").send_keys(text)

    def tick(self, field: str) -> None:
        """Tick a box of the page's form."""
        self._find(f"//input[@name='{field}']").click()

    def press(self, text: str) -> None:
        """Press the first button, or follow the first link, that says *text*."""
        self._leave(self._find(f"//*[self::button or self::a][.='{text}']").click)

    def press_in_row(self, row: str, text: str) -> None:
        """Press the button *text* in the table's row that says *row*."""
        self._leave(self._find(f"//tr[contains(., '{row}')]//button[.='{text}']").click)

    def reload(self) -> None:
        """Load the page again."""
        self._leave(self.driver.refresh)

    def back(self) -> None:
        """Go back to the page before."""
        self._leave(self.driver.back)

    @property
    def url(self) -> str:
        """Where it is."""
        return self.driver.current_url

    @property
    def heading(self) -> str:
        """The text of the page's heading."""
        return self._until(lambda _: self._find("//h1").text, "the page has a heading")

    @property
    def text(self) -> str:
        """The text of the page."""
        return self._until(lambda _: self._find("//body").text, "the page says something")

    @contextmanager
    def frame(self) -> Iterator[None]:
        """Look into the page's frame."""
        self.driver.switch_to.frame(self._find("//iframe"))
        try:
            yield
        finally:
            self.driver.switch_to.default_content()

    @contextmanager
    def other_tab(self) -> Iterator[None]:
        """Open another tab, and close it."""
        tab = self.driver.current_window_handle
        self.driver.switch_to.new_window("tab")
        try:
            yield
        finally:
            self.driver.close()
            self.driver.switch_to.window(tab)

    @property
    def cookies(self) -> list[dict[str, object]]:
        """All cookies of all sites, with their attributes."""
        return self.driver.execute_cdp_cmd("Network.getAllCookies", {})["cookies"]

    @cookies.setter
    def cookies(self, cookies: list[dict[str, object]]) -> None:
        self.driver.execute_cdp_cmd("Network.setCookies", {"cookies": cookies})

    @property
    def script_cookies(self) -> str:
        """The cookies that the page's scripts can read."""
        return self.driver.execute_script("return document.cookie")

    def set_by_script(self, cookie: str) -> None:
        """Let a script of the page set a cookie."""
        self.driver.execute_script("document.cookie = arguments[0]", cookie)

    def forget(self) -> None:
        """Forget all cookies and cached pages."""
        for command in "Network.clearBrowserCookies", "Network.clearBrowserCache":
            self.driver.execute_cdp_cmd(command, {})

    def picture(self, what: str) -> None:
        """Keep a screenshot, named after the test, where that is asked for."""
        if SCREENSHOTS is None:
            return
        test = os.environ["PYTEST_CURRENT_TEST"].rpartition("::")[2].rpartition(" ")[0]
        name = re.sub(r"[^\w.-]+", "-", f"{test} {what}")
        Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(Path(SCREENSHOTS, f"{name}.png")))

    def _find(self, xpath: str) -> WebElement:
        return self.driver.find_element(By.XPATH, xpath)

    def _leave(self, action: Callable[[], object]) -> None:
        page = self._find("/html")
        action()
        self._until(lambda _: _is_left(page), "the page is left")

    def _until(self, condition: Callable[[Chrome], T], what: str) -> T:
        return WebDriverWait(self.driver, PATIENCE, poll_frequency=0.02).until(
            condition, f"still not so after {PATIENCE:g} s: {what}"
        )


def _is_left(page: WebElement) -> bool:
    try:
        page.is_enabled()
    except StaleElementReferenceException:
        return True
    except WebDriverException as error:
        # The driver's message if the page goes away while it looks the element up.
        if "does not belong to the document" in str(error.msg):
            return True
        raise
    return False


PROXY = """
master_process off;
daemon off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate proxy.pem;
        ssl_certificate_key proxy.pem;
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""


def tls_proxy(server: Server, directory: Path) -> Server:
    """Return nginx before *server*: every name ends there by https."""
    proxy = Server([NGINX, "-p", str(directory), "-c", "proxy.conf", "-e", "stderr"], directory)
    (directory / "proxy.conf").write_text(PROXY.format(port=proxy.port, upstream=server.port))
    (directory / "proxy.pem").write_bytes(_certificate())
    return proxy


def _certificate() -> bytes:
    """Return a key and a self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name.from_rfc4514_string("CN=shop.test")
    now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
    names = [x509.DNSName("*.test"), x509.IPAddress(ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
