"""The steps that Redis takes at once, as scripts in Lua.

A session is a hash under ``<prefix>s:{<key>}``.  Values have ``=`` before their names; the rest::

    c  created_at      e  expires_at      l  life: e less the last request's time
    v  version         w  tokens of the last writes, so that a repeated attempt knows its own work
    o  owner           h  hash of the owner, in hex; "" is none
    k  cookie          a  client          g  the owner's generations that the session is part of
    f  the key that it was moved from

The forwarding record that a rotation leaves is a hash under ``<prefix>m:{<key>}``: ``m`` the new
key, ``t`` until when it takes changes, ``c`` when it was left, ``e`` its end.  A session that is
about to be moved to another node of a cluster waits under ``<prefix>p:{<key>}``.  The braces let
Redis Cluster keep the three on one node.

An owner has an index, a sorted set of keys by the time until which it has them, under
``<prefix>o:{<hash>}``, and a generation, a random token, under ``<prefix>g:{<hash>}``.  A session
that is not part of its owner's generation has ended; so has one if its owner has no generation.
So one write ends all sessions of an owner, also those that the index has lost.

If Redis is out of memory, it refuses a script's first write if that needs memory, and lets all
later ones pass.  So a write that needs memory comes first, unless it must not be refused.

Redis undoes nothing of a script that fails.  So steps that can fail come before the first write.  A
value of another type, which litesess did not write, counts as absent.

Times are Unix seconds as text, so that no digit is lost in Lua; they are those of the caller: a
session ends by the clock that it was begun by.  Redis removes it by its own, so long after the call
as was left then.

The first arguments of each script are now and the mark of the key file, its last bytes.  The keys
are s, m, p of one session, in ``MOVE`` those of another one after them, and last the prefix if one
server has all keys: a script that has it looks after the owner's keys, too, and does nothing if the
key file is not the caller's.  On a cluster ``INDEX``, ``UNINDEX`` and ``RENEW`` do that, with the
keys o, g of one owner.  Each answers with an array, a word first.
"""

from __future__ import annotations

from typing import Final

from litesess.stores.redis.lua import TOKEN_DIGITS, TOKENS, Script

#: Return a session.
LOAD: Final = Script(
    """
local found = ask('HGETALL', KEYS[1])
if not found then return {'foreign'} end
if #found == 0 then return {'none'} end
local owner, generations
for at = 1, #found, 2 do
  if found[at] == 'h' then owner = found[at + 1] end
  if found[at] == 'g' then generations = found[at + 1] end
end
if not is_current(owner, generations) then return {'ended', generations or ''} end
return {'session', found}
""",
    is_change=False,
)

#: Return of a session the times and the version alone.
LOOK: Final = Script(
    """
local found = ask('HMGET', KEYS[1], 'h', 'g', 'e', 'c', 'l', 'v')
if not found then return {'foreign'} end
if not found[3] then return {redis.call('EXISTS', KEYS[1]) == 1 and 'foreign' or 'none'} end
if not is_current(found[1], found[2]) then return {'ended', found[2] or ''} end
return {'session', {'e', found[3], 'c', found[4] or '', 'l', found[5] or '', 'v', found[6] or ''}}
""",
    is_change=False,
)

#: Then its generations, "1" if the caller has found it in its owner's index: delete a session that
#: is part of these alone.  Not if it is in the index: it is deleted, and counted, with the rest of
#: the index.
END: Final = Script("""
local stored = fields(KEYS[1], 'h', 'g')
if (stored[2] or '') ~= ARGV[3] then return {'gone'} end
if ARGV[4] == '1' or is_indexed(stored[1], KEYS[1]) then return {'indexed'} end
local found = take(KEYS[1])
return found and {'done', found} or {'gone'}
""")

#: Then token, expires_at, owner's hash, the owner's generation or a fresh one, fields: create a
#: session.
CREATE: Final = Script("""
if is_live(KEYS[1]) then
  return {is_among(ARGV[3], redis.call('HGET', KEYS[1], 'w')) and 'done' or 'taken'}
end
if is_there(KEYS[2]) or is_waiting() then return {'taken'} end
local generation = join(ARGV[5], KEYS[1], ARGV[4], ARGV[6])
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('DEL', KEYS[1]) end
set(KEYS[1], 7)
redis.call('HSET', KEYS[1], 'w', ARGV[3])
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'g', generation) end
expire(KEYS[1], ARGV[4])
return {'done'}
""")

#: Then token, led, if_version, expires_at, "1" if it is used, owner's hash, the owner's generation
#: or a fresh one, number of fields to remove, those, fields: merge changes into a session, by the
#: rules of ``stores/changes.py``; "" and, for the owner, "-": as it is.
UPDATE: Final = Script(f"""
local key, token, version, ends_at = KEYS[1], ARGV[3], ARGV[5], ARGV[6]
local owner, removed = ARGV[8], tonumber(ARGV[10])
if not is_live(key) then
  local found = elsewhere(ARGV[4])
  if found then return found end
end
local stored = fields(key, 'e', 'v', 'h', 'w', 'c')
if is_among(token, stored[4]) then return {{'done', redis.call('HGETALL', key)}} end
-- Redis would refuse to count it up.
if not string.match(stored[2] or '', '^%d+$') or #stored[2] > 18 then return {{'gone'}} end
if version ~= '' and stored[2] ~= version then return {{'conflict', stored[2]}} end
if ends_at == '' then ends_at = stored[1] end
local former = stored[3] or ''
if owner == '-' then owner = former end
local generation = join(owner, key, ends_at, ARGV[9])
if owner ~= former then
  leave(former, key)
  redis.call('HSET', key, 'c', ARGV[1], 'h', owner, 'g', generation)
elseif seconds(stored[5]) > NOW + 60 then  -- begun by a clock that was wrong
  redis.call('HSET', key, 'c', ARGV[1])
end
local tokens = string.sub(token .. (stored[4] or ''), 1, {TOKENS * TOKEN_DIGITS})
redis.call('HSET', key, 'e', ends_at, 'w', tokens)
for at = 11, 10 + removed do
  redis.call('HDEL', key, ARGV[at])
end
set(key, 11 + removed)
if ARGV[7] == '1' then
  redis.call('HSET', key, 'l', string.format('%.17g', tonumber(ends_at) - NOW))
end
redis.call('HINCRBY', key, 'v', 1)
local done = redis.call('HGETALL', key)
expire(key, ends_at)
return {{'done', done}}
""")

#: Then version, expires_at: let a session end at another time.
TOUCH: Final = Script("""
local key, version, ends_at = KEYS[1], ARGV[3], ARGV[4]
if not is_live(key) then return {'gone'} end
local stored = fields(key, 'v', 'h', 'g')
if version ~= '' and stored[1] ~= version then return {'gone'} end
-- A page that is only read is not refused for want of memory.
redis.call('PERSIST', key)
redis.call('HSET', key, 'e', ends_at)
expire(key, ends_at)
join(stored[2] or '', key, ends_at, stored[3] or '')
return {'done', stored[2] or '', stored[3] or ''}
""")

#: Then led, owner's hash or "-" for any, the generation that has ended or "", the next one,
#: handles: delete a session, of an owner's that is given only if it is part of the former and not
#: of the next one; unless it has one of the handles or was moved from where one is.
DELETE: Final = Script("""
local key = KEYS[1]
if not is_there(key) then
  if not ask('HMGET', key, 'e') then return {'foreign'} end
  local stale = take(key)
  if stale then return {'expired', stale} end
  local found = elsewhere(ARGV[3])
  if found then return found end
end
local stored = fields(key, 'h', 'f', 'g')
if ARGV[4] ~= '-' and ARGV[4] ~= stored[1] then return {'gone'} end
for at = 7, #ARGV do
  if stored[2] and string.sub(stored[2], 1, #ARGV[at]) == ARGV[at] then return {'gone'} end
end
if ARGV[5] == '' then
  if not is_current(stored[1], stored[3]) then return {'ended', stored[3] or ''} end
elseif ARGV[4] ~= '-' then
  local is_over = is_among(ARGV[5], stored[3]) and not is_among(ARGV[6], stored[3])
  -- One that ended earlier, too.
  if PREFIX then is_over = not is_current(stored[1], stored[3]) end
  if not is_over then return {'gone'} end
  -- One that is damaged was no session; another end of the owner's may count it only here.
  if not string.match(stored[3] or '', '^%x+$') then return {'over', take(key)} end
end
return {'done', take(key)}
""")

_FORWARD: Final = """
if not is_live(KEYS[1]) then
  -- It may have been done, and the answer lost.
  return {fields(KEYS[2], 'm')[1] == ARGV[6] and 'done' or 'gone'}
end
local stored = fields(KEYS[1], 'v', 'e', 'g', 'h')
if stored[1] ~= ARGV[3] or stored[2] ~= ARGV[4] or (stored[3] or '') ~= ARGV[5] then
  return {'again'}
end

local function leave_forward()
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[2], 'm', ARGV[6], 't', ARGV[7], 'c', ARGV[1], 'e', ARGV[8])
  expire(KEYS[2], ARGV[8])
end
"""

#: Then version, expires_at, generations, new key, until when changes follow, end of the forwarding
#: record: leave one in the place of a session that is stored so.
FORWARD: Final = Script(f"""{_FORWARD}
leave_forward()
return {{'done'}}
""")

#: As ``FORWARD``, then the new session's expires_at, owner's hash, the owner's generation or a
#: fresh one, fields: move a session.
MOVE: Final = Script(f"""{_FORWARD}
if is_live(KEYS[4]) or is_there(KEYS[5]) then return {{'taken'}} end
local generation = join(ARGV[10], KEYS[4], ARGV[9], ARGV[11])
if stored[4] == ARGV[10] then generation = stored[3] or '' end
leave(stored[4], KEYS[1])
leave_forward()
redis.call('DEL', KEYS[4])
set(KEYS[4], 12)
redis.call('HSET', KEYS[4], 'g', generation)
expire(KEYS[4], ARGV[9])
return {{'done'}}
""")

#: Then end of the wait, fields, "f" among them: let a session wait for the forwarding record of its
#: move.
WAIT: Final = Script("""
if is_live(KEYS[1]) or is_there(KEYS[2]) then return {'taken'} end
if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('DEL', KEYS[3]) end
set(KEYS[3], 4)
expire(KEYS[3], ARGV[3])
return {'done'}
""")

#: Let a waiting session in, if its forwarding record is there.
LET_IN: Final = Script("""
let_in()
return {redis.call('EXISTS', KEYS[1]) == 1 and 'done' or 'gone'}
""")

#: Delete a session that has expired, by the caller's clock alone maybe.
COLLECT: Final = Script("""
local found = ask('HMGET', KEYS[1], 'e', 'h', 'g')
if not found then return {'foreign'} end
local ends_at = tonumber(found[1] or '')
if not ends_at or ends_at ~= ends_at then
  return {redis.call('EXISTS', KEYS[1]) == 1 and 'foreign' or 'none'}
end
if ends_at <= NOW then return {'done', take(KEYS[1])} end
if not is_current(found[2], found[3]) then return {'ended', found[3] or ''} end
return {'live'}
""")

#: Then led, owner's hash, the owner's generation, its next one, handles: let a session that has one
#: of these, or was moved from where one is, be part of that, too.
ADOPT: Final = Script(f"""
local key = KEYS[1]
if not is_live(key) then
  local found = elsewhere(ARGV[3])
  if found then return found end
end
local stored = fields(key, 'h', 'g', 'f', 'e')
if stored[1] ~= ARGV[4] or not is_among(ARGV[5], stored[2]) then return {{'gone'}} end
for at = 7, #ARGV do
  local handle = ARGV[at]
  if string.sub(key_in(key), 1, #handle) == handle
      or string.sub(stored[3] or '', 1, #handle) == handle then
    -- This is not refused for want of memory.
    redis.call('PERSIST', key)
    redis.call('HSET', key, 'g', string.sub(ARGV[6] .. stored[2], 1, {TOKENS * TOKEN_DIGITS}))
    expire(key, stored[4])
    return {{'done', handle}}
  end
end
return {{'gone'}}
""")

#: Then the owner's generation, the next one or "": let the next one take its place.
RENEW: Final = Script("""
if ask('GET', KEYS[2]) ~= ARGV[3] then return {'again'} end
local left = redis.call('PTTL', KEYS[2])
-- This is not refused for want of memory.
redis.call('DEL', KEYS[2])
if ARGV[4] ~= '' then
  redis.call('SET', KEYS[2], ARGV[4], 'PX', left > 0 and left or 1)
end
return {'done'}
""")

#: Then key, expires_at, a fresh generation: have a session in its owner's index.
INDEX: Final = Script("""
return {'done', enrol(KEYS[1], KEYS[2], ARGV[3], ARGV[4], ARGV[5])}
""")

#: Then key: have a session that was deleted in the index no more.
UNINDEX: Final = Script("""
ask('ZREM', KEYS[1], ARGV[3])
return {'done'}
""")

ALL: Final = (
    LOAD, LOOK, END, CREATE, UPDATE, TOUCH, DELETE, FORWARD, MOVE, WAIT, LET_IN, COLLECT, ADOPT,
    RENEW, INDEX, UNINDEX,
)  # fmt: skip
