"""A Django project in this process, with a store of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("django")

from django.db import connections
from django.test import Client, override_settings
from django.test.utils import setup_test_environment, teardown_test_environment

from litesess import MemoryStore
from litesess.testing import FakeClock
from tests.tools import django_app


@pytest.fixture(scope="session", autouse=True)
def _project() -> Iterator[None]:
    setup_test_environment(debug=False)
    django_app.make_users()
    yield
    teardown_test_environment()
    connections.close_all()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(autouse=True)
def store(clock: FakeClock) -> Iterator[MemoryStore]:
    """Return the store of this test."""
    kept = MemoryStore(clock=clock)
    with override_settings(
        LITESESS_STORE=kept, LITESESS_PATH=None, LITESESS_CLOCK=clock, USE_TZ=True
    ):
        yield kept
    kept.close()


@pytest.fixture
def in_files(tmp_path: Path) -> Iterator[Path]:
    """Let the project keep its sessions in a directory."""
    with override_settings(LITESESS_STORE=None, LITESESS_PATH=tmp_path / "sessions"):
        yield tmp_path / "sessions"


@pytest.fixture(params=[django_app.OWN_MIDDLEWARE, django_app.DJANGOS_MIDDLEWARE])
def either_middleware(request: Any) -> Iterator[str]:
    """Run the test with our middleware, and with Django's."""
    with override_settings(MIDDLEWARE=django_app.middleware(request.param)):
        yield request.param


@pytest.fixture
def browser() -> Client:
    return Client()


def tab_of(browser: Client) -> Client:
    """Return another tab of a browser, which always sends the browser's cookie of now."""
    other = Client()
    for name, morsel in browser.cookies.items():
        other.cookies[name] = morsel.value
    return other


def said(response: Any) -> dict[str, str] | None:
    """Return the session's cookie in a response, with its attributes; None: it has none."""
    morsel = response.cookies.get("sessionid")
    return None if morsel is None else {"value": morsel.value, **morsel}


def values(response: Any) -> dict[str, Any]:
    """Return the session's values, as a page shows them."""
    assert response.status_code == 200, response
    found: dict[str, Any] = response.json()["values"]
    return found
