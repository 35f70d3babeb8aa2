"""What Django needs to know of an app: its commands, and the checks of its settings."""

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
        """Let ``manage.py check``, and whatever begins with it, look at the settings."""
        from litesess.integrations.django.checks import check_settings  # noqa: PLC0415

        checks.register(check_settings)
