"""What keeps shared caches from mixing up clients, where an app says something odd."""

from __future__ import annotations

import pytest

from litesess.web.caching import guard_caches

COOKIE = "litesess.sid=x; Path=/"


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("private", "private"),
        ("max-age=60", "private, max-age=60"),
        ('private="x-foo", max-age=60', 'private, private="x-foo", max-age=60'),
        ('no-cache="a, private"', 'private, no-cache="a, private"'),
        ("private-ish", "private, private-ish"),
        ("no-store-x", "private, no-store-x"),
        ("No-Store", "No-Store"),
        ("PUBLIC, max-age=60", "no-store"),
        ("s-maxage=60", "no-store"),
        ('x="public, private', 'private, x="public, private'),
    ],
)
def test_only_what_really_keeps_shared_caches_away_is_left_as_it_is(stated, expected):
    headers = guard_caches([("Cache-Control", stated)], [COOKIE])
    assert [value for name, value in headers if name == "Cache-Control"] == [expected]
