"""The meaning of Redis's errors: a table gives each the store's error and the next step.

The table is read by the code with which a server begins an error.  A client error without a code is
about the connection.

Source: Redis 7.0, ``server.c`` (shared errors) and ``script_lua.c``; Redis documentation, "RESP
protocol specification"; twemproxy 0.5, ``nc_message.c`` (a proxy's answers for its servers).
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from typing import Final, NamedTuple

import redis
from redis.sentinel import MasterNotFoundError

from litesess.errors import StoreError, StoreFull, StoreUnavailable


class ServerFull(StoreFull, StoreUnavailable):
    """Redis has no memory left; reading and deleting go on."""


class Meaning(NamedTuple):
    """The meaning of an error.

    Attributes:
        text: the problem, in words; it follows the server's name.
        error: the class of the error to raise.
        passes: whether another try may succeed within a moment.
        drops: whether the connections lead to a wrong or dead server, so that the next try needs
            a new one.
        timed_out: whether the try took all the time that one try has.
    """

    text: str
    error: type[StoreError] = StoreUnavailable
    passes: bool = True
    drops: bool = False
    timed_out: bool = False


#: A client of clusters follows these by itself.
_ELSEWHERE: Final = Meaning(
    "is a node of a cluster; let its address begin with redis+cluster://", StoreError, passes=False
)
_PASSWORD: Final = Meaning("refuses the user or password", passes=False)

#: By the code with which the server's error begins.
_BY_CODE: Final = {
    "READONLY": Meaning("is a replica, or becomes one", drops=True),
    "MASTERDOWN": Meaning("is a replica that has lost its master", drops=True),
    "LOADING": Meaning("is loading its data"),
    "BUSY": Meaning("is busy with a script that does not end"),
    "BUSYKEY": Meaning("is busy with that key"),
    "NOTREADY": Meaning("is not ready"),
    "NOREPLICAS": Meaning("takes no writes, as it has too few replicas (min-replicas-to-write)"),
    "MISCONF": Meaning(
        "takes no writes, as it can't save its data; its log says why"
        " (stop-writes-on-bgsave-error, or the append-only file)",
        passes=False,
    ),
    "OOM": Meaning("has no memory left (maxmemory)", ServerFull, passes=False),
    "CLUSTERDOWN": Meaning("is a cluster without nodes for some of its slots"),
    "TRYAGAIN": Meaning("is moving slots between its nodes"),
    "MOVED": _ELSEWHERE,
    "ASK": _ELSEWHERE,
    "NOSCRIPT": Meaning("has forgotten a script again and again"),
    "UNBLOCKED": Meaning("changes its role", drops=True),
    "NOAUTH": _PASSWORD,
    "WRONGPASS": _PASSWORD,
    "DENIED": Meaning("refuses clients of other machines (protected-mode)", passes=False),
    "NOPERM": Meaning(
        "does not permit that to its user; docs/redis.rst has the rule for ACL SETUSER",
        passes=False,
    ),
}
#: By a part of an error with the code ERR: a server, or a proxy that speaks for one, is away.
_BY_TEXT: Final = {
    "max number of clients": Meaning("has as many clients as it takes (maxclients)"),
    "NOREPLICAS": _BY_CODE["NOREPLICAS"],
    "onnection refused": Meaning("is a proxy that can't reach its server", drops=True),
    "onnection timed out": Meaning("is a proxy whose server does not answer", drops=True),
    "onnection reset": Meaning("is a proxy that has lost its server", drops=True),
    "No route to host": Meaning("is a proxy that can't reach its server", drops=True),
    "Host is down": Meaning("is a proxy whose server is down", drops=True),
    "upstream failure": Meaning("is a proxy that has lost its server", drops=True),
    "no upstream host": Meaning("is a proxy without a server", drops=True),
    "operation not permitted": _PASSWORD,  # Redis before 2.8, and proxies
    "invalid password": _PASSWORD,
    "invalid username-password": _PASSWORD,
    "without any password configured": _PASSWORD,
}
#: The codes that the client cuts off, by the class that it makes of them; the first that fits.
_CODES: Final = (
    (redis.exceptions.BusyLoadingError, "LOADING"),
    (redis.exceptions.ReadOnlyError, "READONLY"),
    (redis.exceptions.MasterDownError, "MASTERDOWN"),
    (redis.exceptions.ClusterDownError, "CLUSTERDOWN"),
    (redis.exceptions.TryAgainError, "TRYAGAIN"),
    (redis.exceptions.MovedError, "MOVED"),
    (redis.exceptions.AskError, "ASK"),
    (redis.exceptions.OutOfMemoryError, "OOM"),
    (redis.exceptions.NoScriptError, "NOSCRIPT"),
    (redis.exceptions.NoPermissionError, "NOPERM"),
    (redis.exceptions.AuthenticationError, "NOAUTH"),
    (redis.exceptions.AuthorizationError, "NOAUTH"),
    (redis.exceptions.AuthenticationWrongNumberOfArgsError, "NOAUTH"),
)
#: The errors of a connection pool that has lent all of its connections.
_POOL_IS_EMPTY: Final = ("Too many connections", "No connection available")
#: A server that is asked in the wrong way ends the connection.
_ENDED: Final = ("closed by server", "Connection reset", "Broken pipe")
_ALL_IN_USE: Final = "all connections that max_connections allows are in use"
_TIMEOUT: Final = (redis.exceptions.TimeoutError, TimeoutError)
_CONNECTION: Final = (
    *_TIMEOUT,
    redis.exceptions.ConnectionError,
    redis.exceptions.RedisClusterException,
    redis.exceptions.ClusterError,
    redis.exceptions.InvalidResponse,
    OSError,
)
#: Source: Redis 6.2, ``scripting.c``: the error of a command within a script follows a hyphen.
_IN_SCRIPT: Final = re.compile(r"@user_script:.*?-([A-Z]+) ", re.DOTALL)
_CODE: Final = re.compile(r"-?([A-Z]+)(?: |\Z)")
_COMMAND: Final = re.compile(r"'([a-z|]{2,30})'")
#: A key is shown as far as a session's handle.
_REST_OF_KEY: Final = re.compile(r"(?<=\{[0-9a-f]{16})[0-9a-f]+(?=\})")
_LONGEST_CAUSE: Final = 200
#: The clients of Sentinels in an error, with the settings of their connections, passwords too if
#: the package ``redis`` is an older one.
_CLIENTS: Final = re.compile(r"\s*:?\s*<redis\..*", re.DOTALL)


class Refused(Exception):
    """An error of the server's, with the command that it is about."""

    def __init__(self, command: str, key: str, error: Exception) -> None:
        super().__init__()
        self.command = command
        self.key = key
        self.error = error


class Failure(NamedTuple):
    """The failure of one try.

    Attributes:
        meaning: of the error.
        cause: why the server can't be reached, for the log; "": it has answered.
        error: to be raised, if there is no other try.
    """

    meaning: Meaning
    cause: str
    error: StoreError

    @property
    def is_lost(self) -> bool:
        """Whether the commands may have been done, and the answer was lost."""
        return bool(self.cause)


def failure_of(error: Exception, server: str, command: str, key: str) -> Failure:
    """Return the meaning of *error*; its message shows no value, id or password.

    Args:
        error: the client's, or :class:`Refused`.
        server: the server's name.
        command: that was sent, unless *error* knows it; "": none.
        key: that the command was about; "": none.
    """
    if isinstance(error, Refused):
        command, key, error = error.command, error.key, error.error
    code = _code(error)
    cause = ""
    if code == "" and isinstance(error, _CONNECTION):
        cause = cause_of(error, is_tls=server.startswith("rediss:"))
    meaning = _BY_CODE.get(code) or _by_text(error, code) or _of_connection(error, cause)
    if meaning is None:
        refused = f"{type(error).__name__} {code}".rstrip()
        meaning = Meaning(f"refuses: {refused}", StoreError, passes=False)
    elif meaning is _BY_CODE["NOPERM"] and (named := _COMMAND.search(str(error))):
        command = named[1].upper()
    about = f" ({_shown(command, key)})" if command else ""
    return Failure(meaning, cause, meaning.error(f"{server} {meaning.text}{about}"))


def is_unknown_script(error: Exception) -> bool:
    """Return whether EVALSHA has failed where EVAL with the script's text may work."""
    text = str(error).lower()
    return isinstance(
        error, (redis.exceptions.NoScriptError, redis.exceptions.NoPermissionError)
    ) or ("evalsha" in text and ("unknown command" in text or "not allowed" in text))


def cause_of(error: BaseException, *, is_tls: bool) -> str:
    """Return why a connection has failed, in a few words, with the cure where one is known.

    Args:
        error: the client's.
        is_tls: whether the connection is known to be by TLS.
    """
    chain = [*_chain(error)]
    if causes := [*filter(None, map(_of_tls, chain))]:
        return causes[0]
    if isinstance(error, _TIMEOUT):
        return "it does not answer"
    if any(part in str(error) for part in _POOL_IS_EMPTY):
        return _ALL_IN_USE
    if isinstance(error, redis.exceptions.InvalidResponse):
        return "the answer is not of Redis's protocol; is that its port?"
    causes = [each.strerror for each in chain if isinstance(each, OSError) and each.strerror]
    shown = _CLIENTS.sub("", (causes or [str(error)])[0])
    text = " ".join(shown.split()).rstrip(".") or type(error).__name__
    hint = ""
    if isinstance(error, MasterNotFoundError):
        hint = "; no Sentinel answers, or none that answers knows it"
    if not is_tls and any(word in text for word in _ENDED):
        hint = "; if that is a port for TLS, the address begins with rediss://, or has ssl=true"
    return ascii(text[:_LONGEST_CAUSE])[1:-1] + hint


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    inner: BaseException | None = error
    while inner is not None and inner not in seen:
        yield inner
        seen.append(inner)
        inner = inner.__cause__ or inner.__context__


def _of_tls(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}; is that a port for TLS, and of which version?"
    if "handshake" in str(error):
        return "no answer to the TLS handshake; is that a port for TLS?"
    return ""


def _shown(command: str, key: str) -> str:
    return f"{command} of {_REST_OF_KEY.sub('...', ascii(key)[1:-1])}" if key else command


def _code(error: Exception) -> str:
    """Return the code of a server's error; "" if it has none."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    if not isinstance(error, redis.exceptions.ResponseError):
        return ""
    text = str(error)
    inner = _IN_SCRIPT.search(text)
    if inner is not None and inner[1] in _BY_CODE:
        return inner[1]
    begin = _CODE.match(text)
    return begin[1] if begin is not None else ""


def _by_text(error: Exception, code: str) -> Meaning | None:
    if code not in ("", "ERR") or not isinstance(error, redis.exceptions.RedisError):
        return None
    if not isinstance(error, redis.exceptions.ResponseError) and "max number" not in str(error):
        return None
    return next((meaning for part, meaning in _BY_TEXT.items() if part in str(error)), None)


def _of_connection(error: Exception, cause: str) -> Meaning | None:
    """Return the meaning of an error that no server has sent; None: a server has."""
    if not cause:
        return None
    return Meaning(
        f"can't be reached: {cause}",
        # Another try makes neither a certificate nor a wrong port right.
        passes=not cause.startswith(("certificate", "TLS")),
        # A pool that has lent all of its connections has no wrong ones for that.
        drops=cause != _ALL_IN_USE,
        # A cluster's client that finds no node says so by an error of its own.
        timed_out=any(isinstance(each, _TIMEOUT) for each in _chain(error)),
    )


#: The classes of errors that :func:`failure_of` takes.
ERRORS: Final = (
    Refused,
    redis.exceptions.RedisError,
    redis.exceptions.RedisClusterException,
    OSError,
)
