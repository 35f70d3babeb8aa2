"""The page ``docs/django.rst``: its settings and its views work as they are written."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.site.test_docs import literal_blocks
from tests.tools.servers import ROOT

PROJECT = """
import sys
from pathlib import Path
from django.conf import settings

BASE_DIR = Path(sys.argv[1])
names = {"BASE_DIR": BASE_DIR}
exec(sys.argv[2], names)
settings.configure(
    SECRET_KEY="not used by litesess",
    ROOT_URLCONF="__main__",
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db"}},
    **{name: value for name, value in names.items() if name.isupper() and name != "BASE_DIR"},
)
import django
django.setup()
from django.contrib import auth
from django.core.checks import run_checks
from django.core.management import call_command
from django.test import Client
from django.urls import path

exec(sys.argv[3])
exec(sys.argv[4])
urlpatterns = [path("others", log_out_others), path("count", count)]
assert run_checks() == [], run_checks()
call_command("migrate", verbosity=0)
user = auth.get_user_model().objects.create_user("ada", password="engine")
browsers = [Client(), Client()]
for browser in browsers:
    browser.force_login(user)
assert len(store.find(user.pk)) == 2
assert browsers[0].post("/others").status_code == 302
assert len(store.find(user.pk)) == 1
print(*[browsers[0].get("/count").content.decode() for _ in range(2)], sep=", ")
"""


@pytest.mark.slow
def test_the_settings_and_the_views_of_the_page_work(tmp_path):
    blocks = literal_blocks((ROOT / "docs" / "django.rst").read_text())
    assert len(blocks) == 3
    done = subprocess.run(
        [sys.executable, "-c", PROJECT, str(tmp_path), *blocks],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=ROOT,
    )
    assert done.stdout == "visit 1, visit 2\n", done.stderr
    assert (tmp_path / "sessions").is_dir()
