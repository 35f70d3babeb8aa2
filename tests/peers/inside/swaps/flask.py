"""A pytest plugin: the sessions of every Flask app are kept by litesess.

The apps of these suites are configured after they were made, with secrets of three letters.  So
an app gets its extension at the first request that has a secret, as an app that calls
``init_app`` last, and signs with the hash of its secret.  Without one it has Flask's null session.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from flask import Flask, Request
from flask.sessions import SecureCookieSessionInterface

from litesess.integrations.flask import Litesess
from litesess.integrations.flask.interface import LitesessInterface
from swaps.opened import counted

_stores = tempfile.TemporaryDirectory(prefix="litesess-peers-")


class SwappedInterface(SecureCookieSessionInterface):
    """Flask's own until the first request that can have a session."""

    def open_session(self, app: Flask, request: Request) -> Any:
        """Put litesess into the app; let it open the session."""
        if not app.secret_key:
            return None
        secrets = [app.secret_key, *(app.config.get("SECRET_KEY_FALLBACKS") or ())]
        app.config["LITESESS_SECRET"] = [_long(secret) for secret in secrets]
        if "LITESESS_STORE" not in app.config:
            app.config["LITESESS_PATH"] = Path(_stores.name) / f"{id(app):x}"
            app.config["LITESESS_DURABLE"] = False
        Litesess(app)
        return app.session_interface.open_session(app, request)


def _long(secret: str | bytes) -> str:
    return hashlib.sha256(secret.encode() if isinstance(secret, str) else secret).hexdigest()


LitesessInterface.open_session = counted(LitesessInterface.open_session)  # type: ignore[method-assign]
Flask.session_interface = SwappedInterface()
