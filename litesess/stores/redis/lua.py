"""The Lua that all scripts share: how they read times, owners and absent values."""

from __future__ import annotations

from hashlib import sha1
from typing import Final

from litesess import ids

#: Length of a token: a write's, or an owner's generation.
TOKEN_DIGITS: Final = 16
#: A session has so many tokens: of its last writes, and of its owner's generations.
TOKENS: Final = 8

_FOR_ALL: Final = """
local NOW, PREFIX = tonumber(ARGV[1]), #KEYS % 3 == 1 and KEYS[#KEYS] or nil

-- Return the answer to a command; false if the value is of another type.
local function ask(...)
  local answer = redis.pcall(...)
  if type(answer) ~= 'table' or not answer.err then return answer end
  if string.find(answer.err, 'WRONGTYPE', 1, true) then return false end
  -- The server can't be used, or a right is missing: that must not look as if nothing were there.
  return redis.call(...)
end

if PREFIX then
  local file = ask('GET', PREFIX .. 'keys')
  if type(file) ~= 'string' or string.sub(file, -#ARGV[2]) ~= ARGV[2] then return {'keys'} end
end

-- Return whether a token, which has 16 digits, is in a list.
local function is_among(token, tokens)
  return #token == 16 and tokens and string.find(tokens, token, 1, true)
end

local function name(kind, owner)
  return PREFIX .. kind .. ':{' .. owner .. '}'
end

-- Return whether a session is part of its owner's generation; on a cluster the caller asks.
local function is_current(owner, generations)
  if not PREFIX or not owner or owner == '' then return true end
  local generation = ask('GET', name('g', owner))
  return type(generation) == 'string' and is_among(generation, generations)
end
"""

_FOR_CHANGES: Final = """
-- Return a time that is stored; 0, long ago, if it is none.
local function seconds(text)
  local number = text and tonumber(text)
  return number and number == number and number or 0
end

local function milliseconds(ends_at)
  local left = math.ceil((seconds(ends_at) - NOW) * 1000)
  -- Redis refuses what does not fit, and -0; 30 000 years fit.
  return left > 0 and string.format('%.0f', math.min(left, 1e15)) or '0'
end

local function expire(key, ends_at)
  redis.call('PEXPIRE', key, milliseconds(ends_at))
end

-- Return fields of a hash; none of them if it is no hash.
local function fields(key, ...)
  return ask('HMGET', key, ...) or {}
end

local function is_there(key)
  return seconds(fields(key, 'e')[1]) > NOW
end

-- Return the key of the session with that name.
local function key_in(session)
  return string.sub(session, -65, -2)
end

local function is_live(key)
  local found = fields(key, 'e', 'h', 'g')
  return seconds(found[1]) > NOW and is_current(found[2], found[3])
end

-- Have a session in an owner's index for as long as it may live and as long again, so that few
-- touches have to look after it; return the owner's generation, the fresh one if there was none.
local function enrol(index, generation, key, ends_at, fresh)
  local ends, known = seconds(ends_at), ask('ZSCORE', index, key)
  local current = ask('GET', generation)
  if type(current) ~= 'string' or #current ~= 16 then current = nil end
  if ends <= NOW then return current or fresh end
  if not known and not ask('ZRANGE', index, 0, 0) then
    redis.log(redis.LOG_WARNING, 'litesess: replaced a value of another type under ' .. index)
    redis.call('DEL', index)
    known = nil
  end
  if current and known and tonumber(known) >= ends then return current end
  redis.call('ZADD', index, string.format('%.17g', 2 * ends - NOW), key)
  redis.call('ZREMRANGEBYSCORE', index, '-inf', '(' .. ARGV[1])
  local left = milliseconds(redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')[2])
  redis.call('PEXPIRE', index, left)
  if not current then
    redis.call('SET', generation, fresh, 'PX', left)
  elseif redis.call('PTTL', generation) < tonumber(left) then
    redis.call('PEXPIRE', generation, left)
  end
  return current or fresh
end

-- The same for a script that may have its owner elsewhere: the generation is the caller's then.
local function join(owner, session, ends_at, generation)
  if not PREFIX or owner == '' then return generation end
  return enrol(name('o', owner), name('g', owner), key_in(session), ends_at, generation)
end

local function is_indexed(owner, session)
  if not PREFIX or not owner then return false end
  return type(ask('ZSCORE', name('o', owner), key_in(session))) == 'string'
end

-- Take a session out of an owner's index.
local function leave(owner, session)
  if PREFIX and owner and owner ~= '' then
    ask('ZREM', name('o', owner), key_in(session))
  end
end

-- Delete a session and return what it was.
local function take(session)
  local found = ask('HGETALL', session)
  if not found or #found == 0 then return nil end
  leave(redis.call('HGET', session, 'h'), session)
  redis.call('DEL', session)
  return found
end

local function set(key, first)
  for at = first, #ARGV, 2 do
    redis.call('HSET', key, ARGV[at], ARGV[at + 1])
  end
end

local function is_waiting()
  return fields(KEYS[3], 'f')[1]
end

-- Let in a session that waits.
local function let_in()
  if is_waiting() then
    redis.call('RENAME', KEYS[3], KEYS[1])
    expire(KEYS[1], redis.call('HGET', KEYS[1], 'e'))
  end
end

-- Return the reason why a session is not there.  led: by the forwarding record of a rotation, which
-- makes a session that waits valid.
local function elsewhere(led)
  local forward = fields(KEYS[2], 'e', 'm', 't')
  local is_key = string.match(forward[2] or '', '^%x+$') and #forward[2] == 64
  if seconds(forward[1]) > NOW and is_key then
    return {'moved', forward[2], forward[3] or '0'}
  end
  local from = is_waiting()
  if from then
    if led ~= '1' then return {'waits', from} end
    let_in()
    if is_live(KEYS[1]) then return nil end
  end
  return {'gone'}
end
"""


class Script:
    """A Lua script, called by the hash of its text."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str, *, is_change: bool = True) -> None:
        # Each call makes all functions anew: one that only reads, as each request does, has few.
        self.text = _FOR_ALL + (_FOR_CHANGES if is_change else "") + text
        # How Redis names scripts; nothing is proven by it.
        self.sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


def new_token() -> str:
    """Return a new token, which no write and no generation has had before."""
    return ids.random_bytes(TOKEN_DIGITS // 2).hex()
