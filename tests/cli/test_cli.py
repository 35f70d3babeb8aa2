"""The command line."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest
from docutils import nodes

from litesess import Record, WALStore
from litesess.cli import main
from litesess.cli.address import Directory
from litesess.cli.exits import Exit
from litesess.ids import key_of
from tests.site.test_docs import literal_blocks, parse, words
from tests.tools.apps import Site
from tests.tools.commands import environment, fill, run
from tests.tools.servers import ROOT

PAGE = ROOT / "docs" / "cli.rst"
COMMANDS = re.findall(r"``litesess ([\w-]+)", PAGE.read_text().partition("``STORE`` is")[0])
EACH_COMMAND = pytest.mark.parametrize("command", COMMANDS)


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


def test_arguments_default_to_those_of_the_process():
    assert len(run("secret").out) == 65


def test_a_signal_after_the_end_does_not_change_the_exit_status():
    """A backup that was complete ended as if by the signal."""
    script = "import os, sys; from litesess.cli import main; code = main(); os.kill(os.getpid(), 2)"
    told = subprocess.run(
        [sys.executable, "-c", f"{script}; sys.exit(code)", "secret"],
        capture_output=True,
        env=environment(),
    )
    assert (told.returncode, len(told.stdout), told.stderr) == (0, 65, b"")


def test_in_an_app_s_process_the_signals_are_as_before(cli):
    before = signal.getsignal(signal.SIGINT)
    assert cli("secret").code == 0
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_while_the_command_line_is_read_waits(cli, tmp_path, monkeypatch):
    """Within argparse it became an AttributeError."""
    read = []

    def parse(text):
        os.kill(os.getpid(), signal.SIGTERM)
        read.append(text)
        return Directory(text)

    fill(tmp_path)
    monkeypatch.setattr("litesess.cli.address.parse", parse)
    assert cli("stats", tmp_path) == (Exit.TERMINATED, "", "")
    assert read == [str(tmp_path)]


def test_the_litesess_command_is_main():
    (command,) = entry_points(group="console_scripts", name="litesess")
    assert command.load() is main


def test_python_m_litesess_is_the_same():
    assert run("--version").out == f"litesess {version('litesess')}\n"


def test_the_secret_is_printed_as_json_if_told_to(cli):
    assert re.fullmatch(r"[0-9a-f]{64}", cli("secret", "--json").json["secret"])


def test_the_page_lists_every_command(cli):
    listed = re.findall(r"^    ([a-z-]+)(?:  |$)", cli("--help").out, re.MULTILINE)
    assert sorted(listed) == sorted(COMMANDS)


@EACH_COMMAND
def test_help_shows_an_example_which_the_page_shows_too(command, cli):
    told = cli(command, "--help")
    assert told.code == 0
    example = told.out.partition("example:\n")[2].strip()
    assert f"litesess {command}" in example
    assert example in literal_blocks(PAGE.read_text())


@EACH_COMMAND
def test_every_command_can_print_json(command, cli):
    assert ("--json" in cli(command, "--help").out) == (command != "completion")


def test_the_page_and_help_say_what_each_exit_status_means(cli):
    table = [*parse(PAGE.read_text()).findall(nodes.table)][-1]
    on_the_page = [tuple(map(words, row.children)) for row in table.findall(nodes.row)]
    assert on_the_page == [(str(code.value), code.meaning) for code in Exit]
    for code in Exit:
        assert re.search(rf"^ +{code.value}  {re.escape(code.meaning)}$", cli("--help").out, re.M)


def test_options_may_stand_between_the_arguments(cli, tmp_path):
    first, second, _ = fill(tmp_path / "data")
    between = ["revoke", tmp_path / "data", "--lock-timeout", 5, first[:16], "--json", second[:16]]
    assert cli(*between).json == {"revoked": 2}


def test_a_pasted_id_is_not_repeated_in_the_error(cli, tmp_path):
    told = cli("show", tmp_path, "the-id-of-somebody")
    assert told.code == Exit.USAGE
    assert "a handle is 16 digits" in told.err
    assert "the-id-of-somebody" not in told.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["stats", "PATH", "--collection", "no/slash"], "is not 1 to 64 of A-Z a-z 0-9 _ -"),
        (["gc", "PATH", "--lock-timeout", "soon"], "is not a number of seconds"),
        (["gc", "PATH", "--lock-timeout", "nan"], "is not a number of seconds"),
        (["stats", "PATH", "--watch", "--interval", "0"], "is not at least 0.1 seconds"),
        (["revoke", "PATH", "--owner", "a", "--all"], "not allowed with"),
        (["revoke", "PATH"], "give handles, or --owner, or --all"),
        (["revoke", "PATH", "0123456789abcdef", "--all"], "give handles, or --owner, or --all"),
    ],
)
def test_a_wrong_option_is_named(arguments, reason, cli, tmp_path):
    fill(tmp_path)
    told = cli(*(tmp_path if part == "PATH" else part for part in arguments))
    assert told.code == Exit.USAGE
    assert reason in told.err


EACH_ON_A_STORE = pytest.mark.parametrize(
    "arguments",
    [
        ["stats"],
        ["list"],
        ["show", "0123456789abcdef"],
        ["verify"],
        ["revoke", "--all"],
        ["gc"],
        ["compact"],
        ["rekey"],
        ["passwd"],
        ["salvage", "elsewhere"],
        ["backup", "elsewhere"],
        ["export"],
        ["import"],
    ],
    ids=lambda arguments: arguments[0],
)


@EACH_ON_A_STORE
class TestWhereThereIsNoStore:
    def test_a_missing_directory_is_named_and_not_made(self, arguments, cli, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        command, *rest = arguments
        told = cli(command, tmp_path / "typo", *rest)
        assert told == (Exit.PATH, "", f"litesess: {tmp_path}/typo: No such file or directory\n")
        assert [*tmp_path.iterdir()] == []

    def test_a_file_is_no_directory(self, arguments, cli, tmp_path):
        (tmp_path / "file").touch()
        command, *rest = arguments
        told = cli(command, tmp_path / "file", *rest)
        assert told == (Exit.PATH, "", f"litesess: {tmp_path}/file: Not a directory\n")

    def test_another_collection_is_suggested(self, arguments, cli, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        fill(tmp_path / "data", collection="carts")
        command, *rest = arguments
        told = cli(command, tmp_path / "data", *rest)
        assert told.code == Exit.PATH
        assert told.err == (
            f"litesess: {tmp_path}/data: there is no collection 'sessions';"
            " there are: carts (--collection)\n"
        )


def test_completion_knows_the_commands_and_their_options(cli):
    pytest.importorskip("shtab")
    for shell in ("bash", "zsh", "fish", "tcsh"):
        told = cli("completion", shell)
        assert told.code == 0
        assert "--owner" in told.out or shell == "tcsh"
        assert "salvage" in told.out


def test_completion_without_the_extra_says_what_to_install(cli, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "shtab", None)
    told = cli("completion", "bash")
    assert told.code == Exit.USAGE
    assert told.err == "litesess: shell completion needs shtab; pip install 'litesess[cli]'\n"


def test_the_commands_work_without_the_extra(tmp_path, monkeypatch):
    fill(tmp_path / "data")
    (tmp_path / "rich.py").write_text("raise ImportError")
    path = f"{tmp_path}:{ROOT}"
    assert run("compact", tmp_path / "data", env={"PYTHONPATH": path}).code == 0


def test_what_the_library_warns_of_is_a_line_on_stderr(cli, tmp_path, caplog):
    fill(tmp_path)
    (log,) = tmp_path.glob("*.wal")
    whole = log.read_bytes()
    # As a writer leaves it that was killed in the middle of its record.
    Path(tmp_path, "sessions.live").write_bytes(b"")
    end = len(whole.rstrip(b"\0")) - 5
    log.write_bytes(whole[:end].ljust(len(whole), b"\0"))
    told = cli("gc", tmp_path)
    assert told.code == 0
    assert re.match(r"litesess: warning: .*what stands there is no record.*\n", told.err)
