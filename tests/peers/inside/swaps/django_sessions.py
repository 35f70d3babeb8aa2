"""What Django expects of each of its backends, expected of litesess'."""

from django.test import SimpleTestCase
from sessions_tests.tests import SessionTestsMixin

from litesess.integrations.django import SessionStore


class LitesessSessionTests(SessionTestsMixin, SimpleTestCase):
    """Django's tests, all of them in the mixin."""

    backend = SessionStore
