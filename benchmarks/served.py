"""The app of one gunicorn: ``benchmarks.served:application()``.

The environment names it: ``BENCHMARK_APP`` is a name in ``app_peers.CANDIDATES``, ``BENCHMARK_DIR``
an empty directory of its own, ``BENCHMARK_HEADERS`` the headers of a bare app, as JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.app_peers import CANDIDATES

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def with_headers(serve: WSGIApplication, more: Mapping[str, Sequence[Any]]) -> WSGIApplication:
    """Return an app that also answers with the headers that the query of a request stands for."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        headers = more.get(environ["QUERY_STRING"])
        if not headers:
            return serve(environ, start_response)

        def start(status: str, own: list[tuple[str, str]], *rest: Any) -> Any:
            return start_response(status, [*own, *headers], *rest)

        return serve(environ, start)

    return app


def application() -> WSGIApplication:
    """Return the app that the environment names."""
    candidate = CANDIDATES[os.environ["BENCHMARK_APP"]]
    app = candidate.make(Path(os.environ["BENCHMARK_DIR"]))
    if candidate.has_sessions:
        return app.serve
    more = json.loads(os.environ["BENCHMARK_HEADERS"])
    headers = {query: [(name, value) for name, value in some] for query, some in more.items()}
    return with_headers(app.serve, headers)
