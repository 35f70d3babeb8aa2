"""Exceptions beyond their messages."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from litesess import (
    ConfigError,
    Corruption,
    EncodeError,
    LitesessError,
    StoreFailed,
    StoreFull,
    StoreLocked,
    errors,
)

EACH = [
    ConfigError("secret is missing"),
    Corruption("/srv/data/sessions.1.wal", 128, "record checksum"),
    EncodeError("cart[2].price", "is an object"),
    StoreFailed("sync failed"),
    StoreFull("no room"),
    StoreLocked("/srv/data", "another process has it"),
]


def classes(root=LitesessError):
    """Yield each exception of the package."""
    yield root
    for child in root.__subclasses__():
        yield from classes(child)


def refuse():
    """Raise an error in another process."""
    raise EACH[1]


def same(found, error):
    """Return whether an error says the same as another one."""
    return (type(found), str(found), vars(found)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("error", EACH, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_is_pickled_with_all_that_it_says(error, protocol):
    assert same(pickle.loads(pickle.dumps(error, protocol)), error)  # made here


@pytest.mark.parametrize("error", EACH, ids=lambda error: type(error).__name__)
def test_an_error_is_copied_with_all_that_it_says(error):
    assert same(copy.copy(error), error)


def test_each_exception_that_takes_parts_is_tried():
    own = {
        each
        for each in classes()
        if "__init__" in vars(each) and each.__module__ == errors.__name__
    }
    assert own == {type(error) for error in EACH if "__init__" in vars(type(error))}


def test_the_error_of_a_task_reaches_the_pool_that_runs_it():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        error = pool.submit(refuse).exception()
    assert same(error, EACH[1])
