"""Where encryption keys come from, and what is a passphrase and what 32 bytes."""

from __future__ import annotations

import io

import pytest

from litesess.cli.exits import Exit
from tests.tools.commands import fill

PASSPHRASE = "correct horse battery"
RAW = bytes(range(32))
VARIABLE = "LITESESS_ENCRYPTION_KEY"


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def key_file(tmp_path):
    return tmp_path / "key"


def test_the_environment_opens_the_store(cli, data, monkeypatch):
    fill(data, encryption_key=PASSPHRASE)
    monkeypatch.setenv(VARIABLE, PASSPHRASE)
    assert cli("stats", "--json", data).json["encrypted"] is True


@pytest.mark.parametrize("newline", ["", "\n", "\r\n"])
def test_a_file_opens_the_store_with_or_without_a_newline(newline, cli, data, key_file):
    fill(data, encryption_key=PASSPHRASE)
    key_file.write_bytes((PASSPHRASE + newline).encode())
    assert cli("stats", data, "--key-file", key_file).code == 0


def test_only_one_newline_is_left_out(cli, data, key_file):
    fill(data, encryption_key=PASSPHRASE + "\n")
    key_file.write_text(PASSPHRASE + "\n\n")
    assert cli("stats", data, "--key-file", key_file).code == 0


def test_the_file_goes_before_the_environment(cli, data, key_file, monkeypatch):
    fill(data, encryption_key=PASSPHRASE)
    monkeypatch.setenv(VARIABLE, "of another store")
    key_file.write_text(PASSPHRASE)
    assert cli("stats", data, "--key-file", key_file).code == 0


@pytest.mark.parametrize("written", [RAW, RAW.hex().encode(), RAW.hex().upper().encode() + b"\n"])
def test_32_bytes_are_given_as_they_are_or_in_hex(written, cli, data, key_file):
    fill(data, encryption_key=RAW)
    key_file.write_bytes(written)
    assert cli("stats", data, "--key-file", key_file).code == 0


def test_the_environment_can_hold_32_bytes_in_hex(cli, data, monkeypatch):
    fill(data, encryption_key=RAW)
    monkeypatch.setenv(VARIABLE, RAW.hex())
    assert cli("stats", data).code == 0


@pytest.mark.parametrize("passphrase", [RAW.hex(), "x" * 32, "y" * 31])
def test_a_passphrase_that_looks_like_a_key_stays_a_passphrase(passphrase, cli, data, key_file):
    fill(data, encryption_key=passphrase)
    for written in (passphrase, passphrase + "\n"):
        key_file.write_text(written)
        assert cli("stats", data, "--key-file", key_file).code == 0


def test_a_key_of_32_bytes_that_ends_like_a_line_is_whole(cli, data, key_file):
    key = bytes(31) + b"\n"
    fill(data, encryption_key=key)
    key_file.write_bytes(key)
    assert cli("stats", data, "--key-file", key_file).code == 0


def test_it_is_asked_for_at_a_terminal(cli, data, monkeypatch):
    fill(data, encryption_key=PASSPHRASE)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    asked = []
    monkeypatch.setattr(
        "litesess.cli.encryption.getpass", lambda prompt: asked.append(prompt) or PASSPHRASE
    )
    assert cli("stats", data).code == 0
    assert asked == [f"passphrase of {data}: "]


def test_a_store_in_the_clear_asks_for_nothing(cli, data, monkeypatch):
    fill(data)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("litesess.cli.encryption.getpass", None)
    assert cli("stats", data).code == 0


@pytest.mark.parametrize(("second", "code"), [("a new passphrase", 0), ("a typing error", 4)])
def test_a_new_one_is_asked_for_twice(second, code, cli, data, monkeypatch):
    fill(data, encryption_key=PASSPHRASE)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    typed = iter([PASSPHRASE, "a new passphrase", second])
    monkeypatch.setattr("litesess.cli.encryption.getpass", lambda _prompt: next(typed))
    told = cli("passwd", data)
    assert told.code == code
    assert ("the two differ" in told.err) == bool(code)


class TestRefusals:
    def refusal(self, told):
        assert (told.code, told.out) == (Exit.KEY, "")
        assert told.err.startswith("litesess: ")
        assert told.err.count("\n") == 1
        return told.err

    def test_no_key(self, cli, data, monkeypatch):
        fill(data, encryption_key=PASSPHRASE)
        monkeypatch.setattr("sys.stdin", io.StringIO())
        told = self.refusal(cli("stats", data))
        assert "is encrypted, by a passphrase; set LITESESS_ENCRYPTION_KEY" in told

    def test_a_wrong_key(self, cli, data, monkeypatch):
        fill(data, encryption_key=PASSPHRASE)
        monkeypatch.setenv(VARIABLE, "wrong horse battery")
        told = self.refusal(cli("stats", data))
        assert "sessions.keys: the encryption key is wrong" in told
        assert "horse" not in told

    def test_a_key_for_a_store_in_the_clear(self, cli, data, monkeypatch):
        fill(data)
        monkeypatch.setenv(VARIABLE, PASSPHRASE)
        assert "is not encrypted, but an encryption_key was given" in self.refusal(
            cli("stats", data)
        )

    def test_a_key_file_that_is_gone(self, cli, data, monkeypatch):
        fill(data, encryption_key=PASSPHRASE)
        (data / "sessions.keys").unlink()
        monkeypatch.setenv(VARIABLE, PASSPHRASE)
        assert "sessions.keys is missing" in self.refusal(cli("stats", data))

    def test_a_file_that_can_t_be_read(self, cli, data, key_file):
        fill(data, encryption_key=PASSPHRASE)
        told = self.refusal(cli("stats", data, "--key-file", key_file))
        assert f"--key-file {key_file}: No such file" in told

    def test_a_passphrase_where_32_bytes_are_wanted(self, cli, data, monkeypatch):
        fill(data, encryption_key=RAW)
        monkeypatch.setenv(VARIABLE, PASSPHRASE)
        assert "this store's key is 32 bytes" in self.refusal(cli("stats", data))

    def test_bytes_where_a_passphrase_is_wanted(self, cli, data, key_file):
        fill(data, encryption_key=PASSPHRASE)
        key_file.write_bytes(b"\xff" * 32)
        told = self.refusal(cli("stats", data, "--key-file", key_file))
        assert "is not UTF-8, and this store's key is a passphrase" in told

    def test_an_end_of_the_input_at_the_prompt(self, cli, data, monkeypatch):
        def end(_prompt):
            raise EOFError

        fill(data, encryption_key=PASSPHRASE)
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        monkeypatch.setattr("litesess.cli.encryption.getpass", end)
        assert "nothing was typed" in self.refusal(cli("stats", data))
