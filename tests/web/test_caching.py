"""What keeps shared caches from mixing up clients, where an app says something odd."""

from __future__ import annotations

import pytest

from litesess.web.caching import guard_caches, vary_by_cookie

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


PERMITTING = [
    ("CDN-Cache-Control", "public, max-age=600"),
    ("Cloudflare-CDN-Cache-Control", "max-age=600"),
    ("Surrogate-Control", "max-age=600"),
    ("X-Accel-Expires", "600"),
    ("x-accel-expires", "@1893456000"),
]
FORBIDDING = [
    ("CDN-Cache-Control", "no-store"),
    ("Surrogate-Control", "max-age=600, private"),
    ("X-Accel-Expires", "0"),
]


@pytest.mark.parametrize("header", PERMITTING, ids=lambda header: header[0])
def test_no_single_cache_is_told_to_store_a_response_with_the_cookie(header, caplog):
    assert guard_caches([header], [COOKIE]) == [
        ("Vary", "Cookie"),
        ("Cache-Control", "private"),
    ]
    assert header[0] in caplog.text


@pytest.mark.parametrize("header", FORBIDDING, ids=lambda header: header[0])
def test_a_single_cache_that_is_told_to_store_nothing_is_told_so_still(header):
    assert header in guard_caches([header], [COOKIE])


@pytest.mark.parametrize("header", PERMITTING, ids=lambda header: header[0])
def test_without_the_cookie_a_single_cache_is_told_what_the_app_says(header):
    assert header in vary_by_cookie([header])
