"""Count the sentences that are hard to read: ``python tests/tools/prose.py [--show] [FILE ...]``.

The tool knows some words that mark such sentences, and no grammar. The first line of a docstring
must have none of them. Other docstrings, comments, messages and pages can have a few, because a
question or a quotation needs one now and then.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
CODE = ("litesess", "tests/tools", "tests/peers", "benchmarks", "examples")
#: Helpers of the tests that pytest finds by this name.
FIXTURES = "conftest.py"
KINDS = ("first lines", "docstrings", "comments", "messages", "pages")
#: The largest part of a kind's sentences that can be hard.
MOST = {"first lines": 0.0} | dict.fromkeys(KINDS[1:], 0.02)

HARD = re.compile(
    r"\b(?:whom|whose|whoever|what|whatever|somebody|nobody|others)\b"  # a noun says it
    r"|(?<!user )(?<!users )(?<!visitor )(?<!owner )(?<!operator )(?<!person )\bwho\b"
    r"|\bbehind\b(?! (?:(?:a|an|the|one|its|your|this|that|such) )?"  # "after", in time and order
    r"(?:\w+ )?(?:prox|nginx|load balancer|firewall))"
    r"|\bin front of\b(?! (?:(?:a|an|the|your) )?(?:app|server|site|worker))"  # "before"
    r"|\bin the clear\b|\bis not the one\b|\bat hand\b|\bis none\b|\bfewer than none\b"
    r"|\bthere may be\b|\bthere is not\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(
    r"(?<=[.!?])[)\"'*]*\s+(?=[\"'(*`A-Z0-9:])|\n\s*\n|\v|\n\s*(?=[-*] |\d+\. |\w+: )"
)
#: Code, roles, names of parameters and quotations.
_NO_PROSE = re.compile(r"``.*?``|:[a-z:+-]+:`[^`]*`|`[^`]*`_*|\*\*?[^*\n]+\*\*?|\"[^\"\n]*\"")
_PROGRAMS = ("noqa", "type:", "pragma", "fmt:", "ruff:", "mypy:", "!/", "-*-")


class Sentence(NamedTuple):
    """One sentence of a file: its kind, its line, its text."""

    kind: str
    line: int
    text: str

    @property
    def is_hard(self) -> bool:
        """Whether the sentence has one of the words, outside of code and quotations."""
        return bool(HARD.search(_NO_PROSE.sub("", self.text)))


def sentences_of(path: Path) -> Iterator[Sentence]:
    """Yield every sentence of a Python file's docstrings, comments and messages, or of a page."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from _docstrings(text)
        yield from _messages(text)
        yield from _comments(text)
    else:
        yield from _split("pages", 1, "\n".join(_without_blocks(text.split("\n"))))


def _docstrings(text: str) -> Iterator[Sentence]:
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        docstring = ast.get_docstring(node)
        if docstring is None:
            continue
        line = node.body[0].lineno
        first, _, rest = docstring.partition("\n")
        yield Sentence("first lines", line, first)
        yield from _split("docstrings", line + 1, "\n".join(_without_blocks(rest.split("\n"))))


def _comments(text: str) -> Iterator[Sentence]:
    block: list[str] = []
    start = last = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        said = token.string.lstrip("#:").strip()
        if said.startswith(_PROGRAMS):
            continue
        is_after_code = bool(token.line[: token.start[1]].strip())
        if is_after_code or token.start[0] != last + 1:
            yield from _split("comments", start, "\n".join(block))
            block, start = [], token.start[0]
        block.append(said)
        last = token.start[0]
    yield from _split("comments", start, "\n".join(block))


def _messages(text: str) -> Iterator[Sentence]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            for argument in node.exc.args:
                message = _text_of(argument)
                if " " in message:
                    yield Sentence("messages", argument.lineno, message)


def _text_of(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text_of(part) or "X" for part in node.values)
    if isinstance(node, ast.BinOp):
        return _text_of(node.left) + _text_of(node.right)
    if isinstance(node, ast.IfExp):
        return f"{_text_of(node.body)} {_text_of(node.orelse)}".strip()
    return ""


def _without_blocks(lines: Iterable[str]) -> Iterator[str]:
    """Yield *lines* without code: literal blocks, and directives other than notes and tables."""
    inside: int | None = None
    is_table = False
    for line in lines:
        if re.fullmatch(r"[=\-~]{3,}", line.strip()):  # under a title
            yield ""
            continue
        if re.fullmatch(r"=+( +=+)+", line):
            is_table = True
            yield ""
            continue
        is_table = is_table and bool(line.strip())
        indent = len(line) - len(line.lstrip())
        if inside is not None and (not line.strip() or indent > inside):
            yield ""
            continue
        inside = None
        if re.match(r"\s*\.\. (?!note|warning|tip|important|list-table)", line):
            inside = indent
            yield ""
            continue
        yield f"\v{line}" if is_table and not indent else line  # a row is a sentence at least
        if line.rstrip().endswith("::"):
            inside = indent


def _split(kind: str, line: int, text: str) -> Iterator[Sentence]:
    at = 0
    for found in [*_SENTENCE.finditer(text), None]:
        end = found.start() if found else len(text)
        sentence = text[at:end]
        if len(re.findall(r"[A-Za-z]{2,}", sentence)) > 2:  # no heading, no row of numbers
            lead = len(sentence) - len(sentence.lstrip())
            yield Sentence(kind, line + text.count("\n", 0, at + lead), " ".join(sentence.split()))
        at = found.end() if found else end


def files() -> list[Path]:
    """Return every file with counted sentences, sorted by path."""
    code = [path for folder in CODE for path in (ROOT / folder).rglob("*.py")]
    code += (ROOT / "tests").rglob(FIXTURES)
    pages = [ROOT / "README.rst", *(ROOT / "docs").rglob("*.rst")]
    return sorted(path for path in code + pages if "_build" not in path.parts)


def excesses() -> dict[str, list[str]]:
    """Return the hard sentences of each kind with too many, as ``file:line: sentence``."""
    count: dict[str, int] = defaultdict(int)
    hard: dict[str, list[str]] = defaultdict(list)
    for path in files():
        for sentence in sentences_of(path):
            count[sentence.kind] += 1
            if sentence.is_hard:
                hard[sentence.kind].append(
                    f"{path.relative_to(ROOT)}:{sentence.line}: {sentence.text}"
                )
    return {kind: found for kind, found in hard.items() if len(found) > MOST[kind] * count[kind]}


def main() -> None:
    """Print the counts by file, then in all; with ``--show``, each hard sentence too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--show", action="store_true", help="print each hard sentence")
    parser.add_argument("file", nargs="*", type=Path)
    given = parser.parse_args()
    total = {kind: [0, 0] for kind in KINDS}
    for path in [file.resolve() for file in given.file] or files():
        by_kind: dict[str, list[Sentence]] = defaultdict(list)
        for sentence in sentences_of(path):
            by_kind[sentence.kind].append(sentence)
        hard = {kind: [each for each in by_kind[kind] if each.is_hard] for kind in by_kind}
        for kind, sentences in by_kind.items():
            total[kind][0] += len(hard[kind])
            total[kind][1] += len(sentences)
        if any(hard.values()):
            counts = ", ".join(
                f"{kind} {len(hard[kind])} of {len(by_kind[kind])}"
                for kind in KINDS
                if hard.get(kind)
            )
            print(f"{path.relative_to(ROOT)}: {counts}")
        if given.show:
            for kind in KINDS:
                for each in hard.get(kind, ()):
                    print(f"  {each.line}: {each.text}")
    for kind, (some, all_) in total.items():
        print(f"{kind}: {some} of {all_} ({some / max(all_, 1):.1%}; at most {MOST[kind]:.0%})")


if __name__ == "__main__":
    main()
