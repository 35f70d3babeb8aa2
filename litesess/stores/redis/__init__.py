"""Sessions in Redis or Valkey, for sites that have outgrown one machine.

The rules are those of every store; ``scripts`` holds the steps that Redis takes at once.  On a
cluster the keys of two sessions usually lie on two nodes, so that a rotation takes several steps
(``rotation``).  ``store`` puts the parts together: ``link`` (the way to the servers), ``records``
(sessions as hashes), ``sessions`` (reading), ``updates``, ``rotation``, ``deletion``, ``owners``
(the index of each owner's sessions, and their generation), ``keys`` (the key file), ``upkeep``
(hourly checks) and ``expiries`` (hearing of sessions that Redis removes).

The names are imported when they are first used: an app knows the store's options without the
package ``redis``, which is optional.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litesess import lazy

if TYPE_CHECKING:
    from litesess.stores.redis.keys import IN_THE_CLEAR
    from litesess.stores.redis.options import RedisOptions
    from litesess.stores.redis.store import RedisStore

__all__ = ["IN_THE_CLEAR", "RedisOptions", "RedisStore"]

_attribute = lazy.names(
    "litesess.stores.redis",
    {
        "IN_THE_CLEAR": "litesess.stores.redis.keys",
        "RedisOptions": "litesess.stores.redis.options",
        "RedisStore": "litesess.stores.redis.store",
    },
)


def __getattr__(name: str) -> Any:
    try:
        return _attribute(name)
    except ImportError as error:  # it is missing, or too old
        raise ImportError(
            f"{name} needs the package redis: pip install 'litesess[redis]'", name="redis"
        ) from error
