"""The description of the app for Django: its commands, and the checks of its settings."""

from __future__ import annotations

from typing import Final

from django.apps import AppConfig
from django.core import checks


class LitesessConfig(AppConfig):
    """The app ``litesess``; it has no models."""

    name: Final = "litesess.integrations.django"
    label: Final = "litesess"
    verbose_name: Final = "Sessions"

    def ready(self) -> None:
        """Register the checks of the settings, for ``manage.py check`` and commands that run it."""
        from litesess.integrations.django.checks import check_settings  # noqa: PLC0415  # reads the settings, which Django has only now

        checks.register(check_settings)
