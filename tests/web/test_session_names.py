"""What a session shows: its public names, to apps and in their templates, and its secret."""

from __future__ import annotations

import copy
import json

import jinja2
import pytest
from flask.sessions import SessionMixin
from pyramid.interfaces import ISession

from litesess import MemoryStore, Session, SessionMiddleware
from litesess.integrations.flask import FlaskSession
from litesess.integrations.pyramid import PyramidSession
from litesess.testing import SessionTestApp
from tests.tools.apps import SECRET, Site, write

MAPPING = {
    "clear", "copy", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values",
}  # fmt: skip
OWN = {
    "accessed", "atomic", "check_csrf_token", "cookie", "created_at", "destroy", "expires_at",
    "flash", "get_csrf_token", "handle", "id", "is_new", "last_seen_at", "login", "logout",
    "modified", "new_csrf_token", "owner", "peek_flash", "pop_flash", "regenerate", "reload",
    "rotate", "save", "touch",
}  # fmt: skip
#: Names that an integration adds, as its framework documents them.
FRAMEWORKS = {
    FlaskSession: {"new", "permanent"},
    PyramidSession: {"new", "created", "invalidate", "changed"},
}
#: Names of the bookkeeping behind a session, which an app's template may well use as keys.
BEHIND = ["visit", "client_id", "environ", "record", "status", "rules", "contents", "state"]


def public(thing):
    return {name for name in dir(thing) if not name.startswith("_")}


def test_it_has_the_documented_names_and_no_other():
    assert public(Session) == MAPPING | OWN


@pytest.mark.parametrize("kind", FRAMEWORKS, ids=lambda kind: kind.__name__)
def test_an_integration_adds_its_frameworks_names_and_no_other(kind):
    assert public(kind) == MAPPING | OWN | FRAMEWORKS[kind]
    frameworks = public(SessionMixin) if kind is FlaskSession else {*ISession.names(all=True)}
    assert FRAMEWORKS[kind] <= frameworks


@pytest.mark.parametrize("name", BEHIND)
def test_a_key_of_the_app_is_not_hidden_in_a_template(name):
    site = Site()
    site.visit(write(**{name: "of the app"}))
    template = jinja2.Template("{{ session." + name + " }}", undefined=jinja2.StrictUndefined)
    assert site.visit(lambda session: template.render(session=session)).value == "of the app"


def test_an_unknown_attribute_is_refused():
    def misspell(session):
        session.onwer = "ada"

    with pytest.raises(AttributeError, match="onwer"):
        Site().visit(misspell)


def said_by(thing, depth):
    """Yield what each public attribute of *thing* says, and each of theirs."""
    for name in sorted(public(thing)):
        try:
            value = getattr(thing, name)
        except AttributeError:
            continue
        yield name, f"{value!r} {value}"
        if depth and not isinstance(value, (str, bytes, int, float, type(None))):
            yield from ((f"{name}.{inner}", text) for inner, text in said_by(value, depth - 1))


def test_nothing_but_its_id_says_the_id():
    site = Site()
    site.visit(write(user="ada"))

    def search(session):
        secret = session.id
        return {name for name, text in said_by(session, 2) if secret in text}

    assert site.visit(search).value == {"id"}


# The mapping, as a dict has it.


def test_it_is_copied_to_a_dict_of_the_same_values():
    def act(session):
        session["cart"] = ["bread"]
        shallow, deep = session.copy(), copy.deepcopy(session)
        assert copy.copy(session) == shallow
        session["cart"].append("milk")
        return type(shallow), type(deep), shallow, deep

    found = Site().visit(act).value
    assert found == (dict, dict, {"cart": ["bread", "milk"]}, {"cart": ["bread"]})


def test_it_goes_through_a_clear_by_its_copy():
    def act(session):
        session["a"] = 1
        kept = session.copy()
        session.clear()
        session.update(kept)
        return dict(session)

    assert Site().visit(act).value == {"a": 1}


def test_it_is_joined_with_dicts_on_both_sides():
    def act(session):
        session["a"] = 1
        assert type(session | {}) is type({} | session) is dict
        return session | {"b": 2}, {"a": 0, "c": 3} | session, session | session

    assert Site().visit(act).value == ({"a": 1, "b": 2}, {"a": 1, "c": 3}, {"a": 1})


def test_it_is_joined_with_no_list():
    with pytest.raises(TypeError):
        Site().visit(lambda session: session | [1])


def test_its_keys_come_in_the_order_they_were_set_and_reversed():
    def act(session):
        session.update(a=1, b=2)
        del session["a"]
        session["a"] = 3
        return [*session], [*reversed(session)], json.dumps(dict(session))

    assert Site().visit(act).value == (["b", "a"], ["a", "b"], '{"b": 2, "a": 3}')


# The CSRF token.


@pytest.mark.parametrize("change", [None, str.encode], ids=["str", "bytes"])
def test_its_csrf_token_is_known(change):
    def act(session):
        token = session.get_csrf_token()
        return session.check_csrf_token(change(token) if change else token)

    assert Site().visit(act).value is True


@pytest.mark.parametrize("given", [None, "", b"", 0, [], "\ud800", "a" * 40, "\u00e9"])
def test_no_other_is_its_csrf_token(given):
    def act(session):
        session.get_csrf_token()
        return session.check_csrf_token(given)

    assert Site().visit(act).value is False


@pytest.mark.parametrize("given", [None, "", "None"])
def test_without_a_csrf_token_none_is_good_and_none_is_made(given):
    def act(session):
        return session.check_csrf_token(given), dict(session)

    assert Site().visit(act).value == (False, {})


def test_a_client_of_the_tests_reads_a_session_by_its_documented_names():
    def app(environ, start_response):
        environ["litesess.session"]["user"] = "ada"
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]

    site = SessionMiddleware(app, secret=SECRET, store=MemoryStore())
    assert SessionTestApp(site).get("/").session["user"] == "ada"
