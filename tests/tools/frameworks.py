"""The same small app in each framework, written as that framework would have it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import bottle
import flask
from paste.deploy import loadapp
from pyramid.config import Configurator
from pyramid.response import Response as PyramidResponse

from litesess import SessionMiddleware, StoreUnavailable
from litesess.integrations.bottle import SessionPlugin
from litesess.integrations.flask import Litesess
from litesess.integrations.pyramid import SessionFactory

#: The work of a page: takes the session and the query, returns the text, at once or bit by bit.
Action = Callable[[Any, Mapping[str, str]], "str | Iterator[str]"]
Pages = Mapping[str, Action]
Options = dict[str, Any]


class Refused(Exception):
    """An exception that each framework turns into its own error page."""


def raw(pages: Pages, options: Options) -> Any:
    return SessionMiddleware(_raw_app(pages, options), **options)


def _raw_app(pages: Pages, options: Options) -> Any:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        session = environ[options.get("environ_key", "litesess.session")]
        name = environ["PATH_INFO"].strip("/")
        status = "200 OK"
        try:
            if name in pages:
                shown = pages[name](session, dict(parse_qsl(environ["QUERY_STRING"])))
            else:
                status, shown = "404 Not Found", not_found(session)
        except Refused as refused:
            status, shown = "403 Forbidden", str(refused)
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [shown.encode()] if isinstance(shown, str) else (bit.encode() for bit in shown)

    return app


def not_found(session: Any) -> str:
    return f"nothing here, {session.owner}"


def in_bottle(pages: Pages, options: Options) -> Any:
    app = bottle.Bottle()
    app.install(SessionPlugin())

    @app.get("/<name>")
    def page(name: str, session: Any) -> Any:
        if name not in pages:
            bottle.abort(404)
        bottle.response.content_type = "text/plain; charset=utf-8"
        try:
            return pages[name](session, bottle.request.query)
        except Refused as refused:
            return bottle.HTTPResponse(str(refused), status=403)

    @app.error(404)
    def error_page(_error: object) -> str:
        return not_found(bottle.request.environ["litesess.session"])

    return SessionMiddleware(app, **options)


def in_pyramid(pages: Pages, options: Options) -> Any:
    def page(request: Any) -> Any:
        shown = pages[request.matchdict["name"]](request.session, request.GET)
        if isinstance(shown, str):
            return PyramidResponse(shown, content_type="text/plain")
        response = PyramidResponse(content_type="text/plain")
        response.app_iter = (bit.encode() for bit in shown)
        return response

    def refuse(refused: Refused, _request: object) -> Any:
        return PyramidResponse(str(refused), status=403, content_type="text/plain")

    def error_page(request: Any) -> Any:
        shown = not_found(request.session)
        return PyramidResponse(shown, status=404, content_type="text/plain")

    factory = SessionFactory(**options)
    with Configurator(session_factory=factory) as config:
        config.add_exception_view(factory.refuse, context=StoreUnavailable)
        for name in pages:
            config.add_route(name, f"/{{name:{name}}}")
            config.add_view(page, route_name=name)
        config.add_view(refuse, context=Refused)
        config.add_notfound_view(error_page)
        return config.make_wsgi_app()


def in_pyramid_inside_of_the_middleware(pages: Pages, options: Options) -> Any:
    return SessionMiddleware(in_pyramid(pages, options), **options)


def in_flask(pages: Pages, options: Options) -> Any:
    app = flask.Flask(__name__)
    app.config.update({f"LITESESS_{name.upper()}": value for name, value in options.items()})
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
    app.config["SESSION_COOKIE_NAME"] = "litesess.sid"
    Litesess(app)

    @app.get("/<name>")
    def page(name: str) -> Any:
        if name not in pages:
            flask.abort(404)
        shown = pages[name](flask.session, flask.request.args)
        if not isinstance(shown, str):
            shown = flask.stream_with_context(shown)
        return flask.Response(shown, content_type="text/plain; charset=utf-8")

    @app.errorhandler(Refused)
    def refuse(refused: Refused) -> Any:
        return str(refused), 403

    @app.errorhandler(404)
    def error_page(_error: object) -> Any:
        return not_found(flask.session), 404

    return app


def in_paste(pages: Pages, options: Options) -> Any:
    """Return the raw app, wrapped by the filter of an ini file."""
    global _pages  # an ini file can only name the attributes of a module
    _pages = pages
    store = options["store"]
    file = Path(store.path).parent / "app.ini"
    file.write_text(
        f"""
        [app:main]
        paste.app_factory = {__name__}:paste_app
        filter-with = sessions
        [filter:sessions]
        use = egg:litesess
        secret = {options["secret"]}
        path = {store.path}
        """.replace("\n        ", "\n")
    )
    return loadapp(f"config:{file}")


_pages: Pages = {}


def paste_app(_global_config: object) -> Any:
    return _raw_app(_pages, {})


FRAMEWORKS: dict[str, Callable[[Pages, Options], Any]] = {
    "raw WSGI": raw,
    "Paste": in_paste,
    "Bottle": in_bottle,
    "Pyramid": in_pyramid,
    "Pyramid inside of the middleware": in_pyramid_inside_of_the_middleware,
    "Flask": in_flask,
}


def shown(session: Any) -> str:
    """Return the text of the page that shows the session."""
    return json.dumps({"owner": session.owner, **session}, sort_keys=True)
