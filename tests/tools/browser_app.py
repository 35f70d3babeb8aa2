"""The app of the browsers' tests: it shows the user, and links to other sites.

``BROWSER_OPTIONS`` holds the options of the middleware, as JSON.
"""

from __future__ import annotations

import json
import os
from html import escape

from litesess import SessionMiddleware, WALStore

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{user}</title>
<link rel="icon" href="data:,"><h1>Hello {user}</h1><p>by {method}</p>"""
ELSEWHERE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Elsewhere</title>
<link rel="icon" href="data:,"><h1>Elsewhere</h1>
<p><a href="{target}">Follow</a>
<form method="post" action="{target}"><button>Send</button></form>
<iframe src="{target}"></iframe>"""


def app(environ, start_response):
    session, path = environ["litesess.session"], environ["PATH_INFO"]
    argument = environ["QUERY_STRING"]
    if path == "/elsewhere":
        page = ELSEWHERE.format(target=escape(argument))
    else:
        if path == "/login":
            session.owner = argument
        elif path == "/logout":
            session.destroy()
        user = "stranger" if path == "/logout" else session.owner or "stranger"
        page = PAGE.format(user=escape(user), method=environ["REQUEST_METHOD"])
    headers = [("Content-Type", "text/html; charset=utf-8")]
    if path == "/private":
        headers.append(("Cache-Control", "no-store"))
    start_response("200 OK", headers)
    return [page.encode()]


application = SessionMiddleware(
    app,
    secret=os.environ["SESSION_SECRET"],
    store=WALStore(os.environ["EXAMPLE_DATA"]),
    **json.loads(os.environ["BROWSER_OPTIONS"]),
)
