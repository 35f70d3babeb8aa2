"""The options of a store in Redis; the package ``redis`` need not be there to know them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from litesess.crypto import EncryptionKey
from litesess.errors import ConfigError
from litesess.options import Options, option, seconds, text
from litesess.stores import options as shared


def _prefix(name: str, value: object) -> str:
    prefix = text(name, value)
    if not prefix or any(letter in "*?[]\\" or not letter.isprintable() for letter in prefix):
        raise ConfigError(
            f"{name} {prefix!r} is empty, or has one of * ? [ ] \\ or a control character"
        )
    # Source: Redis Cluster specification, "Hash tags": the text between the first { and } counts.
    _, is_tagged, rest = prefix.partition("{")
    if is_tagged and rest.find("}") < 1:
        raise ConfigError(f"{name} {prefix!r} has a {{ without a tag and }} after it; leave it out")
    return prefix


@dataclass(frozen=True, kw_only=True)
class RedisOptions(Options):
    """How a :class:`RedisStore` works."""

    prefix: str = option(
        "litesess:",
        "The beginning of the store's keys.  Stores with different prefixes can share a server",
        check=_prefix,
    )
    ttl: float = shared.ttl()
    anonymous_ttl: float | None = shared.anonymous_ttl()
    touch_interval: float | Literal["auto"] = shared.touch_interval()
    encryption_key: EncryptionKey | None = shared.key("the values that are stored")
    max_per_owner: int | None = shared.max_per_owner()
    timeout: float = option(
        1,
        "Longest wait for Redis in seconds, with all tries and pauses; then ``StoreUnavailable``",
        check=seconds,
    )
    clock: Callable[[], float] = shared.clock()
