"""The command line."""

from __future__ import annotations

import re
from importlib.metadata import entry_points, version

import pytest
from apps import Site

from litesess import Record, WALStore
from litesess.cli import main
from litesess.ids import key_of


def test_secret_prints_one_line_that_can_sign(capsys):
    assert main(["secret"]) == 0
    out = capsys.readouterr().out
    assert re.fullmatch(r"[0-9a-f]{64}\n", out)
    site = Site(secret=out.strip())
    assert site.visit(lambda session: session.update(a=1)).said == "set"


@pytest.mark.parametrize("kind", [[], ["--passphrase"], ["--key"]])
def test_secret_prints_another_one_each_time(kind, capsys):
    main(["secret", *kind])
    first = capsys.readouterr().out
    main(["secret", *kind])
    assert capsys.readouterr().out != first


def test_secret_prints_both_kinds_of_encryption_key(capsys, tmp_path):
    main(["secret", "--passphrase"])
    passphrase = capsys.readouterr().out.removesuffix("\n")
    assert re.fullmatch(r"([a-z2-7]{5}-){5}[a-z2-7]{5}", passphrase)
    main(["secret", "--key"])
    key = bytes.fromhex(capsys.readouterr().out)
    for name, given in ("one", passphrase), ("two", key):
        with WALStore(tmp_path / name, encryption_key=given) as store:
            store.create(key_of("x"), Record({"a": 1}, 1.0, 1e10))
        with WALStore(tmp_path / name, encryption_key=given) as store:
            assert store.load(key_of("x")).data == {"a": 1}


def test_version_is_printed(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["--version"])
    assert exit_info.value.code == 0
    assert capsys.readouterr().out == f"litesess {version('litesess')}\n"


@pytest.mark.parametrize(
    "arguments", [[], ["bogus"], ["secret", "--length", "4"], ["secret", "--key", "--passphrase"]]
)
def test_what_it_does_not_know_is_a_usage_error(arguments, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    assert "usage: litesess" in capsys.readouterr().err


def test_arguments_default_to_those_of_the_process(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["litesess", "secret"])
    assert main() == 0
    assert len(capsys.readouterr().out) == 65


def test_the_litesess_command_is_main():
    (command,) = entry_points(group="console_scripts", name="litesess")
    assert command.load() is main
