"""A fetched file is kept as long as it is the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.sources import Cache


def test_what_was_made_is_made_once_for_the_same_contents(tmp_path: Path) -> None:
    made = []
    for contents in b"one", b"one", b"two", b"two", b"one":
        with Cache(tmp_path).made("python3.11.7", contents) as (home, is_new):
            if is_new:
                (home / "file").write_bytes(contents)
                made.append(contents)
        assert (home / "file").read_bytes() == contents
    assert made == [b"one", b"two"]


def test_what_could_not_be_made_is_made_anew(tmp_path: Path) -> None:
    with pytest.raises(KeyError), Cache(tmp_path).made("flask-3.1.3", b"") as (home, _):
        (home / "half").touch()
        raise KeyError
    with Cache(tmp_path).made("flask-3.1.3", b"") as (home, is_new):
        assert is_new
        assert [*home.iterdir()] == []


def test_only_the_package_and_the_plugins_are_on_the_path(tmp_path: Path) -> None:
    found = [child.name for path in Cache(tmp_path).path() for child in path.iterdir()]
    assert {"litesess", "swaps"} <= {*found}
    assert "tests" not in found
