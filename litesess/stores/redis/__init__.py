"""Sessions in Redis or Valkey, for sites that have outgrown one machine.

The rules are those of every store; ``scripts`` holds the steps that Redis takes at once.  On a
cluster the keys of two sessions usually lie on two nodes, so that a rotation takes several steps
(``rotation``).  ``store`` puts the parts together: ``link`` (the way to the servers), ``records``
(sessions as hashes), ``sessions`` (reading), ``updates``, ``rotation``, ``deletion``, ``owners``
(the index of each owner's sessions, and their generation), ``keys`` (the key file), ``upkeep``
(what is looked after each hour) and ``expiries`` (hearing of sessions that Redis removes).
"""

from litesess.stores.redis.keys import IN_THE_CLEAR
from litesess.stores.redis.store import RedisOptions, RedisStore

__all__ = ["IN_THE_CLEAR", "RedisOptions", "RedisStore"]
