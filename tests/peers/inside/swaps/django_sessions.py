"""Django's tests of its backends, run on litesess'."""

from django.test import SimpleTestCase
from sessions_tests.tests import SessionTestsMixin

from litesess.integrations.django import SessionStore


class LitesessSessionTests(SessionTestsMixin, SimpleTestCase):
    """Django's tests, all of them in the mixin."""

    backend = SessionStore
