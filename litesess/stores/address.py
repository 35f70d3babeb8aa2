"""The address of a store: one syntax for configuration files, integrations and commands.

::

    PATH or wal:PATH[?collection=NAME]           a directory
    redis://[USER[:PASSWORD]@]HOST[:PORT][/DB]   Redis; also rediss:// and unix://PATH
    redis+sentinel://HOST:PORT,.../SERVICE[/DB]  Sentinel's master
    redis+cluster://HOST:PORT,...                a cluster; each of Redis with [?OPTION=VALUE&...]

A password in an address is never shown: messages have :attr:`Server.shown`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import parse_qsl, quote, unquote

from litesess.advice import suggestion
from litesess.errors import ConfigError, ConfigTypeError

#: The environment variable with the password of an address that has none.
REDIS_VARIABLE: Final = "LITESESS_REDIS_PASSWORD"
SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster")
ONE_SERVER: Final = ("redis", "rediss", "unix")
COLLECTION: Final = "sessions"
PREFIX: Final = "litesess:"

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# Not by urlsplit(): Python 3.14's takes no list of hosts with one in brackets.
# Source: RFC 3986 appendix B.
_PARTS: Final = re.compile(r"([^:]+)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?\Z", re.DOTALL)
_HOST: Final = r"(?:[\w-]{1,63}(?:\.[\w-]{1,63})*\.?|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?"
_HOSTS: Final = re.compile(rf"(?:{_HOST}(?:,{_HOST})*)?\Z")
_LAST_PORT: Final = 65_535
_DATABASE: Final = re.compile(r"/?\d*\Z")
_SERVICE: Final = re.compile(r"/([^/]+)(?:/(\d*))?\Z")
_WORDS: Final = {"1": True, "true": True, "yes": True, "on": True,
                 "0": False, "false": False, "no": False, "off": False}  # fmt: skip


class Directory(NamedTuple):
    """The address of a store in a directory."""

    path: str
    collection: str = COLLECTION

    @property
    def shown(self) -> str:
        """The address in messages."""
        return self.path

    @property
    def paths(self) -> tuple[str, ...]:
        """The directories: root becomes their owner."""
        return (self.path,)


class Server(NamedTuple):
    """The address of a store in Redis; no repr shows its password.

    Attributes:
        url: the whole address.
        prefix: the option of the store of that name.
    """

    url: str
    prefix: str = PREFIX

    @property
    def shown(self) -> str:
        """The address in messages, without user, password and options."""
        parts = _parts(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def paths(self) -> tuple[str, ...]:
        """No directory, so root becomes no other user."""
        return ()

    def __repr__(self) -> str:
        return f"<Server {self.shown}>"


Address: TypeAlias = "Directory | Server"


class _Parts(NamedTuple):
    """The parts of a URL."""

    scheme: str
    netloc: str
    path: str
    query: str
    fragment: str


def _parts(url: str) -> _Parts:
    found = _PARTS.match(url)
    assert found is not None  # it has a scheme
    return _Parts(*(part or "" for part in found.groups()))


class Place(NamedTuple):
    """The parts of a server's URL.

    Attributes:
        scheme: one of ``SCHEMES``.
        hosts: with their ports.
        path: of the socket for ``unix``.
        service: that Sentinel knows the server by.
        database: its number.
        settings: of the connections, as the package ``redis`` names them.
        options: of the store.
    """

    scheme: str
    hosts: tuple[tuple[str, int], ...]
    path: str
    service: str
    database: int
    settings: Mapping[str, Any]
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The server in messages, without a user, password or option."""
        if self.scheme == "unix":
            return f"unix:{self.path}"
        hosts = ",".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts
        )
        service = f"/{self.service}" if self.service else ""
        return f"{self.scheme}://{hosts}{service}{f'/{self.database}' if self.database else ''}"

    def __repr__(self) -> str:
        return f"<Place {self.name}>"


def _word(text: str) -> bool:
    return _WORDS[text.lower()]


def _file(text: str) -> str:
    if not Path(text).exists():
        raise FileNotFoundError
    return text


def _requirement(text: str) -> str:
    if text not in ("required", "optional", "none"):
        raise ValueError
    return text


def _protocol(text: str) -> int:
    return {"2": 2, "3": 3}[text]


def _positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


#: The options of a URL that are the store's: the function that reads each, and its type.
_OF_STORE: Final[dict[str, tuple[Callable[[str], Any], str]]] = {
    "prefix": (str, "a text"),
    "timeout": (float, "a number of seconds"),
}
#: The options of the connections.
_OF_CONNECTIONS: Final[dict[str, tuple[Callable[[str], Any], str]]] = {
    "username": (str, "a text"),
    "password": (str, "a text"),
    "client_name": (str, "a text"),
    "max_connections": (_positive, "a number above zero"),
    "protocol": (_protocol, "2 or 3"),
    "socket_keepalive": (_word, "true or false"),
    "ssl": (_word, "true or false"),
    "ssl_ca_certs": (_file, "a file that exists"),
    "ssl_ca_path": (_file, "a directory that exists"),
    "ssl_certfile": (_file, "a file that exists"),
    "ssl_keyfile": (_file, "a file that exists"),
    "ssl_password": (str, "a text"),
    "ssl_cert_reqs": (_requirement, "required, optional or none"),
    "ssl_check_hostname": (_word, "true or false"),
    "db": (int, "a number"),
}
URL_OPTIONS: Final = (*_OF_STORE, *_OF_CONNECTIONS)
#: Options that other programs take, each with the advice for this one.
_REFUSED: Final = {
    "decode_responses": "leave decode_responses out of the URL: the store decodes what it reads",
    **dict.fromkeys(
        (
            "socket_timeout", "socket_connect_timeout", "retry_on_timeout", "retry_on_error",
            "health_check_interval",
        ),
        "the store's own 'timeout' decides how long a try takes and whether there is another",
    ),
}  # fmt: skip


def parse(text: str) -> Address:
    """Return the address that a text gives, with the password of the environment if it has none.

    Raises:
        ConfigError: it is no address; the message shows no password.
    """
    if text.startswith("wal:"):
        from litesess.engine import is_collection  # noqa: PLC0415  # an app with its sessions in Redis never loads the engine

        path, _, query = text.removeprefix("wal:").partition("?")
        name, _, collection = query.partition("=")
        if query and (name != "collection" or not is_collection(collection)):
            raise ConfigError(f"wal:{path}: only ?collection=NAME may follow")
        return _directory(path, collection or COLLECTION)
    if _URL.match(text) is None:
        return _directory(text, COLLECTION)
    parts, queries = _split(text)
    place = read_url(text)
    userinfo, _, hosts = parts.netloc.rpartition("@")
    password = os.environ.get(REDIS_VARIABLE)
    if password and ":" not in userinfo and "password" not in queries:
        netloc = f"{userinfo}:{quote(password, safe='')}@{hosts}"
        query = f"?{parts.query}" if parts.query else ""
        # By hand: urlunsplit() leaves the // out of unix:///PATH.
        text = f"{parts.scheme}://{netloc}{parts.path}{query}"
    return Server(text, place.options.get("prefix", PREFIX))


def _directory(path: str, collection: str) -> Directory:
    if not path or "\0" in path:
        raise ConfigError("the address names no directory")
    return Directory(path, collection)


def read_url(url: str) -> Place:
    """Return the parts of a server's URL.

    Raises:
        ConfigError: it is malformed, or has an unknown scheme or option; the message has nothing of
            a password.
    """
    parts, queries = _split(url)
    scheme = parts.scheme
    settings, options = _options(scheme, queries)
    username, _, password = parts.netloc.rpartition("@")[0].partition(":")
    if username:
        settings["username"] = unquote(username)
    if password:
        settings["password"] = unquote(password)
    hosts = parts.netloc.rpartition("@")[2] or "localhost"
    if "," in hosts and scheme in ONE_SERVER:
        raise ConfigError(f"{scheme}: the URL names several servers; see redis+sentinel, -cluster")
    usual = 26_379 if scheme == "redis+sentinel" else 6_379
    service, database = _service_and_database(scheme, parts.path, settings.pop("db", None))
    return Place(
        scheme,
        tuple(_host_and_port(host, usual) for host in hosts.split(",")),
        unquote(parts.path) if scheme == "unix" else "",
        service,
        database,
        settings,
        options,
    )


def _split(url: str) -> tuple[_Parts, dict[str, str]]:
    """Return the parts of a URL, and the options after its question mark."""
    found = _URL.match(url)
    if found is None or found[1] not in SCHEMES:
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        what = f"{found[1]}://" if found else "what was given"
        raise ConfigError(f"{what}: no such scheme; known are {known}")
    parts = _parts(url)
    queries = dict(parse_qsl(parts.query, keep_blank_values=True))
    hosts = parts.netloc.rpartition("@")[2]
    ports = [int(port) for port in re.findall(r":(\d+)(?=,|\Z)", hosts)]
    is_right = _HOSTS.match(hosts) and all(port <= _LAST_PORT for port in ports)
    if "@" in f"{parts.path}{parts.query}{parts.fragment}" or parts.fragment or not is_right:
        raise ConfigError(
            "the URL of the Redis server can't be read; in a user or password write each of"
            " / ? # @ as %2F %3F %23 %40"
        )
    return parts, queries


def _options(scheme: str, queries: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of the connections, and the options of the store."""
    settings: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for name, value in queries.items():
        known = _OF_STORE.get(name) or _OF_CONNECTIONS.get(name)
        if known is None:
            hint = f"; {_REFUSED[name]}" if name in _REFUSED else suggestion(name, URL_OPTIONS)
            raise ConfigTypeError(f"unknown option {name!r} in the URL of the Redis server{hint}")
        read, kind = known
        try:
            (options if name in _OF_STORE else settings)[name] = read(value)
        except (ValueError, KeyError, OSError):
            # Don't show the value, which can be a password in a wrong place.
            raise ConfigError(f"{name} in the URL of the Redis server is not {kind}") from None
    if scheme in ONE_SERVER and "ssl" in settings:
        raise ConfigError(
            "leave ssl out of the URL: rediss:// is TLS, redis:// and unix:// are not"
        )
    if scheme == "rediss":
        settings["ssl"] = True
    if not settings.get("ssl") and (wrong := [name for name in settings if "ssl_" in name]):
        raise ConfigError(f"{wrong[0]} in the URL needs TLS: rediss://, or ssl=true for several")
    return settings, options


def _service_and_database(scheme: str, path: str, database: int | None) -> tuple[str, int]:
    if scheme == "unix":
        if not path:
            raise ConfigError("unix: the URL names no socket, as unix:///run/redis.sock does")
        return "", database or 0
    if scheme == "redis+sentinel":
        found = _SERVICE.match(path)
        if found is None:
            raise ConfigError(
                "redis+sentinel: the URL is redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB"
            )
        return found[1], int(found[2] or database or 0)
    if scheme == "redis+cluster":
        if path.strip("/0") or database:
            raise ConfigError("redis+cluster: a cluster has no other database than 0")
        return "", 0
    if not _DATABASE.match(path):
        # The client would take 0 for it.
        raise ConfigError("the database after the host is not a number")
    return "", int(path.strip("/") or database or 0)


def _host_and_port(text: str, usual: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text.strip("[]"), usual
    return host.strip("[]"), int(port)
