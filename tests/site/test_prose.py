"""Sentences that are read twice: how many of them the project has."""

from __future__ import annotations

import pytest

from tests.tools import prose


def test_no_kind_of_text_has_more_hard_sentences_than_its_limit():
    assert prose.excesses() == {}


@pytest.mark.parametrize(
    "text",
    [
        '"""Return what is stored."""',
        '"""Return the record."""\n# The lock keeps others away.\n',
        'raise ValueError("the key is not the one of this store")',
        'def f():\n    """Return the record.\n\n    Nobody reads it.\n    """\n',
    ],
)
def test_a_hard_sentence_is_found_in_each_kind_of_text(text, tmp_path):
    (path := tmp_path / "module.py").write_text(text)
    assert any(sentence.is_hard for sentence in prose.sentences_of(path))


@pytest.mark.parametrize(
    "text",
    [
        '"""Return the ``what`` of *others*, behind a proxy."""',
        'x = "nobody"  # noqa: F841 what',
        'raise ValueError("what")',
        '"""Return it.\n\nAn example::\n\n    who = what\n"""',
    ],
)
def test_code_names_and_quotations_are_no_prose(text, tmp_path):
    (path := tmp_path / "module.py").write_text(text)
    assert not any(sentence.is_hard for sentence in prose.sentences_of(path))


def test_the_sentences_of_a_page_are_counted_without_its_code(tmp_path):
    (path := tmp_path / "page.rst").write_text(
        "A page\n======\n\nIt says::\n\n    who?\n\nWho?  Me.\n"
    )
    hard = [(each.line, each.text) for each in prose.sentences_of(path) if each.is_hard]
    assert hard == []  # one word is no sentence
    path.write_text("A page.  Its second sentence\nsays what it is.\n")
    assert [each.line for each in prose.sentences_of(path) if each.is_hard] == [1]
