"""The same, with the session middleware of litesess in the place of Django's."""

from swaps.django_settings import *  # noqa: F403

OWN_MIDDLEWARE = True
