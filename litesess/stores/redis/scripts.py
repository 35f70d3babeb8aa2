"""The steps that Redis takes at once, as scripts in Lua.

A session is a hash under ``<prefix>s:{<key>}``.  Values have ``=`` before their names; the rest::

    c  created_at      e  expires_at      l  life: e less the last request's time
    v  version         w  tokens of the last writes, so that a repeated attempt knows its own work
    o  owner           h  hash of the owner, in hex; "" is none
    k  cookie          a  client          i  until when the owner's index is sure to have it
    f  the key that it was moved from

The forwarding record that a rotation leaves is a hash under ``<prefix>m:{<key>}``: ``m`` the new
key, ``t`` until when it takes changes, ``c`` when it was left, ``e`` its end.  A session that is
about to be moved to another node of a cluster waits under ``<prefix>p:{<key>}``.  The braces let
Redis Cluster keep the three on one node.

If Redis is out of memory, it refuses a script's first write if that needs memory, and lets all
later ones pass.  So a write that needs memory comes first, unless it must not be refused.

Times are Unix seconds as text, so that no digit is lost in Lua; they are those of the caller: a
session ends by the clock that it was begun by.  Redis removes it by its own, so long after the call
as was left then.

Every script but ``INDEX`` and ``UNINDEX`` has the keys s, m, p of one session; ``MOVE`` has those
of another one after them.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Final


class Script:
    """A Lua script, called by the hash of its text."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text = _SHARED + text
        # How Redis names scripts; nothing is proven by it.
        self.sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


_SHARED: Final = """
local NOW = tonumber(ARGV[1])

local function is_live(key)
  local ends_at = redis.call('HGET', key, 'e')
  return ends_at and tonumber(ends_at) > NOW
end

local function expire(key, ends_at)
  -- Redis refuses what does not fit; 30 000 years do.
  local left = math.min(math.ceil((tonumber(ends_at) - NOW) * 1000), 1e15)
  redis.call('PEXPIRE', key, string.format('%.0f', left))
end

local function set(key, first)
  for at = first, #ARGV, 2 do
    redis.call('HSET', key, ARGV[at], ARGV[at + 1])
  end
end

local function is_among(token, tokens)
  return tokens and string.find(tokens, token, 1, true)
end

-- Let in a session that waits.
local function let_in()
  if redis.call('EXISTS', KEYS[3]) == 1 then
    redis.call('RENAME', KEYS[3], KEYS[1])
    expire(KEYS[1], redis.call('HGET', KEYS[1], 'e'))
  end
end

-- Return the reason why a session is not there.  led: by the forwarding record of a rotation, which
-- makes a session that waits valid.
local function elsewhere(led)
  if is_live(KEYS[2]) then
    local forward = redis.call('HMGET', KEYS[2], 'm', 't')
    return {'moved', forward[1], forward[2]}
  end
  if redis.call('EXISTS', KEYS[3]) == 1 then
    if led ~= '1' then return {'waits', redis.call('HGET', KEYS[3], 'f')} end
    let_in()
    if is_live(KEYS[1]) then return nil end
  end
  return {'gone'}
end
"""

#: now, token, expires_at, then fields: create a session.
CREATE: Final = Script("""
if is_live(KEYS[1]) then
  return is_among(ARGV[2], redis.call('HGET', KEYS[1], 'w')) and 1 or 0
end
if is_live(KEYS[2]) or redis.call('EXISTS', KEYS[3]) == 1 then
  return 0
end
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('DEL', KEYS[1]) end
set(KEYS[1], 4)
redis.call('HSET', KEYS[1], 'w', ARGV[2])
expire(KEYS[1], ARGV[3])
return 1
""")

#: now, token, led, if_version, expires_at, "1" if it is used, owner's hash, hash of the owner whose
#: index has it, until when, number of fields to remove, those, then fields: merge changes into a
#: session, by the rules of ``stores/changes.py``; "" and, for the first hash, "-": as it is.
UPDATE: Final = Script("""
local key, token, version, ends_at = KEYS[1], ARGV[2], ARGV[4], ARGV[5]
local owner, indexed_for, indexed, removed = ARGV[7], ARGV[8], ARGV[9], tonumber(ARGV[10])
if not is_live(key) then
  local found = elsewhere(ARGV[3])
  if found then return found end
end
local stored = redis.call('HMGET', key, 'e', 'v', 'h', 'i', 'w')
if is_among(token, stored[5]) then return {'done', redis.call('HGETALL', key)} end
if version ~= '' and stored[2] ~= version then return {'conflict', stored[2]} end
if ends_at == '' then ends_at = stored[1] end
local former = stored[3] or ''
if owner == '-' then owner = former end
if owner ~= '' then
  local sure = owner == indexed_for and indexed or owner == former and stored[4] or '0'
  if tonumber(sure) < tonumber(ends_at) then return {'unindexed', owner, ends_at} end
  redis.call('HSET', key, 'i', sure)
end
if owner ~= former then
  redis.call('HSET', key, 'c', ARGV[1], 'h', owner)
end
redis.call('HSET', key, 'e', ends_at, 'w', string.sub(token .. (stored[5] or ''), 1, 128))
for at = 11, 10 + removed do
  redis.call('HDEL', key, ARGV[at])
end
set(key, 11 + removed)
if ARGV[6] == '1' then
  redis.call('HSET', key, 'l', string.format('%.17g', tonumber(ends_at) - NOW))
end
redis.call('HINCRBY', key, 'v', 1)
local done = redis.call('HGETALL', key)
expire(key, ends_at)
return {'done', done}
""")

#: now, version, expires_at, hash of the owner whose index has it, until when: let a session end at
#: another time.
TOUCH: Final = Script("""
local key, version, ends_at, indexed_for, indexed = KEYS[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if not is_live(key) then return {'gone'} end
local stored = redis.call('HMGET', key, 'v', 'h', 'i')
if version ~= '' and stored[1] ~= version then return {'gone'} end
local owner = stored[2] or ''
local sure = owner == indexed_for and indexed or stored[3] or '0'
if owner ~= '' and tonumber(sure) < tonumber(ends_at) then return {'unindexed', owner} end
-- A page that is only read is not refused for want of memory.
redis.call('PERSIST', key)
if owner ~= '' then redis.call('HSET', key, 'i', sure) end
redis.call('HSET', key, 'e', ends_at)
expire(key, ends_at)
return {'done'}
""")

#: now, led, owner's hash or "-" for any, then handles: delete a session, unless it has one of these
#: or was moved from where one is.
DELETE: Final = Script("""
local key = KEYS[1]
if not is_live(key) then
  local stale = redis.call('HGETALL', key)
  if #stale > 0 then
    redis.call('DEL', key)
    return {'expired', stale}
  end
  local found = elsewhere(ARGV[2])
  if found then return found end
end
local stored = redis.call('HMGET', key, 'h', 'f')
if ARGV[3] ~= '-' and ARGV[3] ~= stored[1] then return {'gone'} end
for at = 4, #ARGV do
  if stored[2] and string.sub(stored[2], 1, #ARGV[at]) == ARGV[at] then return {'gone'} end
end
local session = redis.call('HGETALL', key)
redis.call('DEL', key)
return {'done', session}
""")

_FORWARD: Final = """
local function leave_forward()
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[2], 'm', ARGV[4], 't', ARGV[5], 'c', ARGV[1], 'e', ARGV[6])
  expire(KEYS[2], ARGV[6])
end

if not is_live(KEYS[1]) then
  -- It may have been done, and the answer lost.
  return redis.call('HGET', KEYS[2], 'm') == ARGV[4] and 'done' or 'gone'
end
local stored = redis.call('HMGET', KEYS[1], 'v', 'e')
if stored[1] ~= ARGV[2] or stored[2] ~= ARGV[3] then return 'again' end
"""

#: now, version, expires_at, new key, until when changes follow, end of the forwarding record: leave
#: one in the place of a session that is stored so.
FORWARD: Final = Script(f"""{_FORWARD}
leave_forward()
return 'done'
""")

#: As ``FORWARD``, then the new session's expires_at and fields: move a session.
MOVE: Final = Script(f"""{_FORWARD}
if is_live(KEYS[4]) or is_live(KEYS[5]) then return 'taken' end
leave_forward()
redis.call('DEL', KEYS[4])
set(KEYS[4], 8)
expire(KEYS[4], ARGV[7])
return 'done'
""")

#: now, end of the wait, then fields, "f" among them: let a session wait for the forwarding record
#: of its move.
WAIT: Final = Script("""
if is_live(KEYS[1]) or is_live(KEYS[2]) then return 'taken' end
if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('DEL', KEYS[3]) end
set(KEYS[3], 3)
expire(KEYS[3], ARGV[2])
return 'done'
""")

#: now: let a session in, whose forwarding record is there.
LET_IN: Final = Script("""
let_in()
return redis.call('EXISTS', KEYS[1])
""")

#: now: delete a session that has expired, by the caller's clock alone maybe.
COLLECT: Final = Script("""
if is_live(KEYS[1]) then return {} end
local stale = redis.call('HGETALL', KEYS[1])
redis.call('DEL', KEYS[1])
return stale
""")

#: now, until, key: have a session in its owner's index.
INDEX: Final = Script("""
local known = redis.call('ZSCORE', KEYS[1], ARGV[3])
if not known or tonumber(known) < tonumber(ARGV[2]) then
  redis.call('ZADD', KEYS[1], ARGV[2], ARGV[3])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
if last[2] then expire(KEYS[1], last[2]) end
""")

#: now, key: have a session that was deleted in the index no more.
UNINDEX: Final = Script("""
redis.call('ZREM', KEYS[1], ARGV[2])
""")

ALL: Final = (
    CREATE, UPDATE, TOUCH, DELETE, FORWARD, MOVE, WAIT, LET_IN, COLLECT, INDEX, UNINDEX,
)  # fmt: skip
