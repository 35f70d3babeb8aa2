"""Flask-Login, Flask-WTF and Flask's command line over sessions that the extension keeps."""

from __future__ import annotations

import json
import os
import re

import flask
import pytest
from flask import redirect
from flask_login import (
    LoginManager,
    UserMixin,
    current_user,
    login_required,
    login_user,
    logout_user,
)
from flask_wtf import FlaskForm
from flask_wtf.csrf import CSRFProtect, generate_csrf
from wtforms import StringField

from litesess import Record
from litesess.cli.exits import Exit
from litesess.ids import handle_of, key_of
from litesess.integrations.flask import session
from tests.tools.commands import LATER
from tests.tools.flask_apps import copy_of, data, make_app


@pytest.fixture
def app():
    return make_app()


@pytest.fixture
def client(app):
    return app.test_client()


class User(UserMixin):
    """Whoever gives a name."""

    def __init__(self, name):
        self.id = name


@pytest.fixture
def club(app):
    """An app with Flask-Login as it is."""
    manager = LoginManager(app)
    manager.login_view = "enter"
    manager.user_loader(User)

    @app.route("/enter")
    @app.route("/enter/<name>")
    def enter(name="nobody"):
        login_user(User(name), remember="remember" in flask.request.args)
        return redirect("/club")

    @app.route("/club")
    @login_required
    def inside():
        return current_user.id

    @app.route("/leave")
    def leave():
        logout_user()
        return "left"

    return app


def test_flask_login_lets_a_user_in_and_out(club):
    client = club.test_client()
    assert client.get("/club").status_code == 302
    assert client.get("/enter/ada", follow_redirects=True).text == "ada"
    assert client.get("/club").text == "ada"
    assert len(club.store.find("ada")) == 1
    stolen = copy_of(client)
    assert client.get("/leave").text == "left"
    assert client.get("/club").status_code == 302
    assert stolen.get("/club").status_code == 302
    assert not any("_user_id" in held for held in data(club))


def test_a_cookie_planted_before_a_flask_login_is_worth_nothing_after_it(club):
    @club.route("/lang")
    def lang():
        session["lang"] = "en"
        return "set"

    mallory = club.test_client()
    mallory.get("/lang")
    ada = copy_of(mallory)
    ada.get("/enter/ada")
    assert ada.get("/club").text == "ada"
    assert mallory.get("/club").status_code == 302
    assert "en" in [held.get("lang") for held in data(club)]  # what was set before it stays


def test_the_next_user_of_a_flask_login_gets_another_id(club):
    client = club.test_client()
    client.get("/enter/ada")
    former = copy_of(client)
    client.get("/enter/bob")
    assert client.get("/club").text == "bob"
    assert former.get("/club").status_code == 302
    assert [len(club.store.find(name)) for name in ("ada", "bob")] == [0, 1]


def test_who_logs_in_elsewhere_can_be_logged_out_there(club):
    @club.route("/only-here")
    def only_here():
        club.store.delete_owner(current_user.id, keep=[session])
        return "done"

    here, there = club.test_client(), club.test_client()
    here.get("/enter/ada")
    there.get("/enter/ada")
    here.get("/only-here")
    assert here.get("/club").text == "ada"
    assert there.get("/club").status_code == 302


def test_a_form_of_before_a_flask_login_is_not_good_after_it(club):
    CSRFProtect(club)

    @club.route("/form", methods=["GET", "POST"])
    def form():
        return "sent" if flask.request.method == "POST" else generate_csrf()

    @club.route("/enter-with-form/<name>")
    def enter_with_form(name):
        generate_csrf()  # as a template of the login page does
        login_user(User(name))
        return generate_csrf()

    client = club.test_client()
    before = client.get("/form").text
    after = client.get("/enter-with-form/ada").text
    assert client.post("/form", data={"csrf_token": before}).status_code == 400
    assert client.post("/form", data={"csrf_token": after}).text == "sent"


def test_flask_login_remembers_and_forgets(club):
    client = club.test_client()
    client.get("/enter/ada?remember=1")
    client.delete_cookie("session")
    assert client.get("/club").text == "ada"
    client.get("/leave")
    assert client.get_cookie("remember_token") is None
    assert client.get("/club").status_code == 302


def test_a_slow_request_keeps_nobody_in_flask_login(club):
    client = club.test_client()

    @club.route("/slow")
    def slow():
        session["seen"] = current_user.id
        copy_of(client).get("/leave")
        return "slow"

    client.get("/enter/ada")
    client.get("/slow")
    assert client.get("/club").status_code == 302


def test_flask_wtf_accepts_a_form_with_its_token_and_no_other(app, client):
    CSRFProtect(app)

    class Form(FlaskForm):
        name = StringField()

    @app.route("/form", methods=["GET", "POST"])
    def form():
        made = Form()
        return f"hello {made.name.data}" if made.validate_on_submit() else generate_csrf()

    token = client.get("/form").text
    fields = {"csrf_token": token, "name": "ada"}
    assert client.post("/form", data=fields).text == "hello ada"
    assert client.post("/form", data=fields | {"csrf_token": "forged"}).status_code == 400
    assert app.test_client().post("/form", data=fields).status_code == 400
    assert copy_of(client).post("/form", data=fields).text == "hello ada"


# Commands.


@pytest.fixture
def operator(tmp_path):
    """A client, and what runs ``flask litesess`` beside it."""
    app = make_app(LITESESS_PATH=tmp_path / "data", LITESESS_TTL=100)

    @app.route("/login/<name>")
    def login(name):
        session.owner = name
        return session.handle

    run = app.test_cli_runner()
    app.run = lambda *words: run.invoke(args=["litesess", *words])
    yield app
    app.extension.close()


def test_the_operator_sees_what_there_is(operator):
    operator.test_client().get("/set/a/1")
    facts = json.loads(operator.run("stats", "--json").output)
    assert (facts["live"], facts["expired"], facts["collection"]) == (1, 0, "sessions")
    (line,) = operator.run("list", "--json").output.splitlines()
    shown = json.loads(operator.run("show", "--data", json.loads(line)["handle"], "--json").output)
    assert shown["data"] == {"a": "1"}
    assert operator.run("verify").exit_code == 0


@pytest.mark.parametrize("command", ["stats", "list", "show", "verify", "revoke", "gc", "compact"])
def test_the_commands_are_those_of_the_command_line(operator, command, cli):
    def said(told):
        return " ".join(told.split("\n\n", 1)[1].partition("positional")[0].split())

    listed = operator.run("--help").output
    told = operator.run(command, "--help")
    assert told.exit_code == 0
    assert told.output.startswith(f"usage: flask litesess {command} ")
    assert "STORE" not in told.output
    assert f"  {command} " in listed
    summary = said(told.output).partition(".")[0]
    assert summary in said(cli(command, "--help").out)


def test_an_unknown_command_is_a_usage_error(operator):
    assert operator.run("salvage").exit_code == 2


def test_the_commands_say_the_same_as_the_command_line(operator, cli, tmp_path):
    operator.store.create(key_of("x"), Record({"a": 1}, 1e9, LATER, owner="ada"))
    for words in ["list"], ["gc"], ["verify"], ["revoke", "--owner", "eve"], ["revoke", "--all"]:
        command, *rest = words
        told = cli(command, tmp_path / "data", *rest)
        assert operator.run(*words).output == told.out


def test_the_operator_collects_and_compacts(operator):
    operator.test_client().get("/set/a/1")
    operator.clock.advance(100)
    assert operator.run("gc").output == "1 expired session deleted\n"
    assert re.fullmatch(r".* before, .* after\n", operator.run("compact").output)


def test_the_operator_revokes(operator):
    clients = [operator.test_client() for _ in range(4)]
    handles = [
        client.get(f"/login/{name}").text for client, name in zip(clients, "aabc", strict=True)
    ]
    assert operator.run("revoke", "--owner", "a").output == "2 sessions revoked\n"
    assert operator.run("revoke", handles[2]).exit_code == 0
    stored = [handle_of(key) for key, _ in operator.store.records()]
    assert len(stored) == 1
    missing = operator.run("revoke", "0123456789abcdef")
    assert (missing.exit_code, "no session has the handle" in missing.output) == (1, True)
    assert operator.run("revoke", "--all").exit_code == 0
    assert data(operator) == []
    for words in ([], ["--all", "--owner", "a"]):
        assert operator.run("revoke", *words).exit_code == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what it does not own")
def test_root_makes_no_directory_among_those_of_another_user(tmp_path):
    """The workers, who run as that user, could not enter it."""
    os.chown(tmp_path, 54321, 54321)
    app = make_app(LITESESS_PATH=tmp_path / "data")
    told = app.test_cli_runner().invoke(args=["litesess", "gc"])
    assert told.exit_code == Exit.PATH
    assert told.output == (
        f"litesess: {tmp_path} belongs to uid 54321, and this is root; run the command as that"
        " user\n"
    )
    assert not (tmp_path / "data").exists()
    app.extension.close()


def test_what_a_store_cant_do_ends_the_command(app, operator):
    run = app.test_cli_runner()
    for word in ("compact", "verify"):
        told = run.invoke(args=["litesess", word])
        assert told.exit_code == Exit.USAGE
        assert told.output == (
            f"litesess: {word} works only on stores in directories, and this one is a"
            " WatchedMemoryStore\n"
        )
    assert json.loads(run.invoke(args=["litesess", "stats", "--json"]).output)["live"] == 0
    operator.store.close()
    closed = operator.run("gc")
    assert closed.exit_code == Exit.PATH
    assert closed.output.startswith("litesess: ")
