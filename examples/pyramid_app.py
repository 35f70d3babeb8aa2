"""Count visits with Pyramid; ``SESSION_SECRET=$(litesess secret) python`` runs it."""

import os
from wsgiref.simple_server import make_server

from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.view import view_config

from litesess import SessionMiddleware, WALStore


@view_config(route_name="count", renderer="string")
def count(request: Request) -> str:
    session = request.environ["litesess.session"]
    session["visits"] = session.get("visits", 0) + 1
    return f"visit {session['visits']}\n"


with Configurator() as config:
    config.add_route("count", "/")
    config.scan(__name__)

application = SessionMiddleware(
    config.make_wsgi_app(), secret=os.environ["SESSION_SECRET"], store=WALStore("data")
)

if __name__ == "__main__":
    port = int(os.environ.get("EXAMPLE_PORT", "8000"))
    with application, make_server("127.0.0.1", port, application) as server:
        server.serve_forever()
