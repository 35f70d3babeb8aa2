"""Count visits with Bottle; ``SESSION_SECRET=$(litesess secret) python`` runs it."""

import os

import bottle

from litesess import SessionMiddleware, WALStore


@bottle.get("/")
def count() -> str:
    session = bottle.request.environ["litesess.session"]
    session["visits"] = session.get("visits", 0) + 1
    return f"visit {session['visits']}\n"


application = SessionMiddleware(
    bottle.default_app(), secret=os.environ["SESSION_SECRET"], store=WALStore("data")
)

if __name__ == "__main__":
    with application:
        bottle.run(application, host="127.0.0.1", port=int(os.environ.get("EXAMPLE_PORT", "8000")))
