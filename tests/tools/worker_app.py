"""The app of the tests with several workers: each request does one thing to its session.

The response is JSON: the process that answered, and all values of the session then.
"""

from __future__ import annotations

import json
import os
import re

from litesess import SessionMiddleware, Store, WALStore

#: A key; anything else is a passphrase.
HEX = re.compile("[0-9a-f]{64}")


def app(environ, start_response):
    session = environ["litesess.session"]
    action, _, argument = environ["PATH_INFO"].strip("/").partition("/")
    if action == "set":
        name, _, value = argument.partition("/")
        session[name] = value
    elif action == "append":  # in place, at depth
        session.setdefault("list", {"items": []})["items"].append(argument)
    elif action == "forget":
        session.pop(argument, None)
    elif action == "login":
        session.login(argument)
        session["user"] = argument
    elif action == "logout":
        session.destroy()
    data = None if action == "logout" else dict(session)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"pid": os.getpid(), "data": data}).encode()]


def make_store() -> Store:
    if "EXAMPLE_REDIS" in os.environ:
        # It takes its time, and some workers are killed as soon as they are there.
        from litesess.stores.redis import RedisStore  # noqa: PLC0415

        return RedisStore(os.environ["EXAMPLE_REDIS"], timeout=0.3)
    key = os.environ.get("EXAMPLE_KEY")
    return WALStore(
        os.environ["EXAMPLE_DATA"],
        wal_limit=1 << 16,  # compacted often: the log is as short as may be
        lock_timeout=20,
        encryption_key=bytes.fromhex(key) if key and HEX.fullmatch(key) else key,
    )


application = SessionMiddleware(
    app,
    secret=os.environ["SESSION_SECRET"],
    store=make_store(),
    if_unavailable=os.environ.get("EXAMPLE_IF_UNAVAILABLE", "503"),
)
