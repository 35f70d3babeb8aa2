"""Count visits with Pyramid; ``SESSION_SECRET=$(litesess secret) python`` runs it."""

import os
from wsgiref.simple_server import make_server

from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.response import Response
from pyramid.view import view_config


@view_config(route_name="count")
def count(request: Request) -> Response:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return Response(f"visit {request.session['visits']}\n")


settings = {
    "litesess.secret": os.environ["SESSION_SECRET"],
    "litesess.path": "data",
    "litesess.cookie.max_age": "1209600",  # as text, as in an ini file
}
with Configurator(settings=settings) as config:
    config.include("litesess.integrations.pyramid")
    config.add_route("count", "/")
    config.scan()
    application = config.make_wsgi_app()

if __name__ == "__main__":
    port = int(os.environ.get("EXAMPLE_PORT", "8000"))
    make_server("127.0.0.1", port, application).serve_forever()
