"""Rates of set, get, touch and delete in stores, by threads and by processes."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from benchmarks import store_costs
from benchmarks.disk import by_hand
from benchmarks.package_peers import forget_django
from benchmarks.peers import RECORD_BYTES, Peer, items, key, session
from benchmarks.rates import Work, process_rate, thread_rate
from benchmarks.redis_server import missing, redis_server
from benchmarks.rounds import Table
from benchmarks.settings import Settings
from benchmarks.store_candidates import Candidate, candidates, redis_candidates

#: Returns the key of a session that is there.
Pick: TypeAlias = "Callable[[random.Random], str]"
#: Returns the work with a peer.
Kind: TypeAlias = "Callable[[Peer, Pick], Work]"

#: One measurement takes this part of ``--seconds``, because there are more than a thousand.
PART: Final = 0.4
#: The number of sessions in each store.
SESSIONS: Final = 200_000
#: The share of requests that do not change their session.
READS: Final = 0.9


def measure(settings: Settings) -> Iterator[Table]:
    """Yield each table when it is finished."""
    with ExitStack() as stack:
        found = candidates(settings.directory)
        lack = missing()
        if lack is None:
            for appendfsync in ("always", "everysec"):
                directory = settings.directory / f"redis-{appendfsync}"
                url = stack.enter_context(redis_server(directory, appendfsync))
                found += redis_candidates(url, appendfsync)
        else:
            print(f"Redis is left out: {lack} is not installed", file=sys.stderr)
        if any(it.needs == "django" for it in found):
            forget_django()
            stack.callback(forget_django)
        keys = [key(number) for number in range(min(SESSIONS, settings.sessions))]
        opened = [_open(it, keys, stack) for it in found]
        os.sync()
        yield from _rates(settings, opened)
    yield from store_costs.measure(settings)


@dataclass(frozen=True)
class Opened:
    """A candidate, and the objects of its measurement.

    Attributes:
        candidate: it.
        peer: it, open.
        keys: of sessions; the same list for all.
        count: the first so many are there.
    """

    candidate: Candidate
    peer: Peer
    keys: Sequence[str]
    count: int

    def pick(self, rng: random.Random) -> str:
        """Return the key of a session that is there."""
        return self.keys[int(rng.random() * self.count)]


def setting(peer: Peer, pick: Pick) -> Work:
    """Return the work that sets all values of a session."""
    return lambda rng: peer.set(pick(rng), session(rng.getrandbits(16)))


def updating(peer: Peer, pick: Pick) -> Work:
    """Return the work that sets one value of a session."""
    return lambda rng: peer.update(pick(rng), {"count": rng.getrandbits(16)})


def getting(peer: Peer, pick: Pick) -> Work:
    """Return the work that gets a session."""
    return lambda rng: peer.get(pick(rng))


def touching(peer: Peer, pick: Pick) -> Work:
    """Return the work that lets a session live on."""
    return lambda rng: peer.touch(pick(rng))


def mixing(peer: Peer, pick: Pick) -> Work:
    """Return the work that gets a session, and sometimes sets one."""
    get, set_ = getting(peer, pick), setting(peer, pick)
    return lambda rng: get(rng) if rng.random() < READS else set_(rng)


def churning(peer: Peer, _pick: Pick) -> Work:
    """Return the work that creates a session, gets and deletes it."""

    def work(rng: random.Random) -> None:
        fresh = f"{rng.getrandbits(256):064x}"
        peer.create(fresh, session(rng.getrandbits(16)))
        peer.get(fresh)
        peer.delete(fresh)

    return work


def setting_any(count: int, peer: Peer) -> Work:
    """Return the work that sets all values of one of so many sessions, in any process."""
    return setting(peer, lambda rng: key(rng.randrange(count)))


def _open(candidate: Candidate, keys: Sequence[str], stack: ExitStack) -> Opened:
    """Open a candidate, fill it and check that it can do the measured work."""
    peer = candidate.make()
    stack.callback(peer.close)
    count = min(len(keys), candidate.most or len(keys))
    peer.fill(items(count))
    opened = Opened(candidate, peer, keys, count)
    if candidate.finds:
        _check(opened)
    return opened


def _check(opened: Opened) -> None:
    """Raise RuntimeError if a peer does not keep the sessions that it is given."""
    peer, name, last = opened.peer, opened.candidate.name, opened.keys[opened.count - 1]
    found = [peer.get(last)]
    peer.set(last, session(1))
    found.append(peer.get(last))
    peer.update(last, {"count": 2})
    peer.touch(last)
    found.append(peer.get(last))
    wanted = [session(opened.count - 1), session(1), {**session(1), "count": 2}]
    if found != wanted:
        raise RuntimeError(f"{name} returns {found}, not {wanted}")


def _rates(settings: Settings, opened: list[Opened]) -> Iterator[Table]:
    finding = [it for it in opened if it.candidate.finds]
    yield _of_threads(settings, "durable set", setting, (1, 16, 64), opened)
    yield _of_threads(settings, "update of one value", updating, (1, 16), finding)
    yield _of_processes(settings, opened)
    yield _of_threads(settings, "get", getting, (1, 16), finding)
    yield _of_threads(settings, "touch", touching, (1,), finding)
    yield _of_threads(settings, "90 % get, 10 % set", mixing, (16,), finding)
    yield _of_threads(settings, "churn", churning, (1, 16), finding)


def _of_threads(
    settings: Settings, name: str, kind: Kind, threads: tuple[int, ...], opened: list[Opened]
) -> Table:
    table = _table(name, opened)
    for count in threads:
        works = {
            it.candidate.name: partial(
                settled,
                thread_rate,
                kind(it.peer, it.pick),
                count,
                settings.seconds * PART,
                seed=settings.seed,
                leave=it.peer.leave,
            )
            for it in opened
        }
        case = "1 thread" if count == 1 else f"{count} threads"
        table.measure(case, works, settings.rounds, _probe(settings))
    return table


def _of_processes(settings: Settings, opened: list[Opened]) -> Table:
    table = _table("durable set, processes", opened)
    for count in (2, 4):  # one process does as one thread does
        works = {
            it.candidate.name: partial(
                settled,
                process_rate,
                it.candidate.make,
                partial(setting_any, it.count),
                count,
                settings.seconds * PART,
                seed=settings.seed,
            )
            for it in opened
        }
        table.measure(f"{count} processes", works, settings.rounds, _probe(settings))
    return table


def settled(rate_of: Callable[..., float], *arguments: Any, **options: Any) -> float:
    """Return a rate after a sync, so that the next candidate does not wait for unsynced data."""
    rate = rate_of(*arguments, **options)
    os.sync()
    return rate


def _table(name: str, opened: list[Opened]) -> Table:
    """Return an empty table, with notes."""
    most = max(it.count for it in opened)
    notes = {}
    for it in opened:
        parts = [it.candidate.note]
        if name == "touch" and it.candidate.touch is not None:
            parts.append(it.candidate.touch)
        if it.count < most:
            parts.append(f"{it.count:,} sessions.".replace(",", " "))
        notes[it.candidate.name] = "  ".join(parts)
    return Table(name, "operations/s", more_is_better=True, notes=notes)


def _probe(settings: Settings) -> Callable[[], None]:
    return by_hand(str(settings.directory), RECORD_BYTES)
