"""Requests that overlap, over RedisStore: the tests of test_overlaps, on real servers."""

from __future__ import annotations

import threading
from itertools import count

import pytest
from apps import Watched
from redises import needs_redis, redis_cluster, redis_server
from test_overlaps import *  # noqa: F403  # each test there is one here

from litesess.stores.redis import RedisStore

pytestmark = [pytest.mark.slow, needs_redis]

_prefixes = count()


class WatchedRedisStore(Watched, RedisStore):
    """A store in Redis that can be watched."""


@pytest.fixture(scope="module", params=["one server", "a cluster"])
def url(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("redis")
    if request.param == "one server":
        with redis_server(directory) as server:
            yield server.url
    else:
        with redis_cluster(directory) as nodes:
            yield f"redis+cluster://127.0.0.1:{nodes[0].port}"


@pytest.fixture
def each_store(url, clock):
    with WatchedRedisStore(url, prefix=f"requests{next(_prefixes)}:", clock=clock) as store:
        yield store


def test_what_is_counted_by_several_at_once_is_counted_right(site):
    def count_up(session):
        session["count"] += 1

    tabs = [site.new_browser() for _ in range(4)]

    def work(tab):
        tab.cookies.update(site.browser.cookies)
        for _ in range(10):
            site.visit(lambda session: session.atomic(count_up), by=tab)

    threads = [threading.Thread(target=work, args=(tab,)) for tab in tabs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert site.data == [{"user": "ada", "count": 41}]
