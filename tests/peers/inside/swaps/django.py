"""Django's own test runner, which tells the recorder of each test."""

from __future__ import annotations

import unittest
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.sessions import middleware
from django.test.runner import DiscoverRunner

from swaps import opened, recorder


class Result(unittest.TextTestResult):
    """The outcomes of a run, written down test by test."""

    def addSuccess(self, test: Any) -> None:  # noqa: N802
        """Note a test that passed."""
        super().addSuccess(test)
        self._note(test, "passed")

    def addFailure(self, test: Any, err: Any) -> None:  # noqa: N802
        """Note a test that failed."""
        super().addFailure(test, err)
        self._note(test, "failed", err)

    def addError(self, test: Any, err: Any) -> None:  # noqa: N802
        """Note a test that failed, or a class or module that could not be set up."""
        super().addError(test, err)
        self._note(test, "failed", err)

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802
        """Note a test of which a part failed."""
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(test, "failed", err)

    def addSkip(self, test: Any, reason: str) -> None:  # noqa: N802
        """Note a test that was skipped."""
        super().addSkip(test, reason)
        self._note(test, "skipped")

    def addExpectedFailure(self, test: Any, err: Any) -> None:  # noqa: N802
        """Note one of Django's own exceptions."""
        super().addExpectedFailure(test, err)
        self._note(test, "skipped")

    def addUnexpectedSuccess(self, test: Any) -> None:  # noqa: N802
        """Note a test that Django expects to fail, and that passed."""
        super().addUnexpectedSuccess(test)
        self._note(test, "failed")

    def _note(self, test: Any, outcome: str, err: Any = None) -> None:
        text = "" if err is None else self._exc_info_to_string(err, test)
        recorder.write(test=test.id(), outcome=outcome, text=text)


class Runner(DiscoverRunner):
    """Runs tests one after the other, and says in the end that it was the end."""

    def get_resultclass(self) -> type[unittest.TextTestResult]:
        """Return the class that notes each outcome."""
        return Result

    def run_tests(self, test_labels: Any, **keywords: Any) -> int:
        """Run the tests; return how many failed."""
        engine = import_module(settings.SESSION_ENGINE)
        if engine.__name__.startswith("litesess."):
            engine.SessionStore.__init__ = opened.counted(engine.SessionStore.__init__)
        if getattr(settings, "OWN_MIDDLEWARE", False):
            middleware.SessionMiddleware = engine.SessionMiddleware
        failures: int = super().run_tests(test_labels, **keywords)
        recorder.write(sessions=opened.count())
        return failures
