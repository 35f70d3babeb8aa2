"""Write the pages of the reference that come from the code: options, commands, metrics.

::

    python -m tests.tools.reference

A test compares the pages with the output of this program.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import fill, indent
from typing import Any

from litesess.cli import MODULES
from litesess.cli.arguments import Commands
from litesess.cli.exits import Exit
from litesess.metrics import _NUMBERS, _PREFIX
from litesess.options import Options, rows
from litesess.stores.keywords import MemoryKeywords, RedisKeywords, WALKeywords
from litesess.stores.memory import MemoryOptions
from litesess.stores.redis import RedisOptions
from litesess.stores.wal import WALOptions
from litesess.web import ManagerOptions
from litesess.web.cookie import CookieSettings
from litesess.web.cookie.keywords import CookieKeywords, Priority, Samesite, Secure
from litesess.web.keywords import MiddlewareKeywords
from tests.tools.servers import ROOT

DOCS = ROOT / "docs"
WIDTH = 96
NOTE = ".. Written by ``python -m tests.tools.reference``: change the code, then run that.\n"

#: The text for people in place of a type that the declarations name.
ALIASES = {
    "Priority": Priority,
    "Samesite": Samesite,
    "Secure": Secure,
    "EncryptionKey": None,
}

MIDDLEWARE = """
    ``SessionMiddleware(app, ...)``, and each framework under names of its own:
    `Flask <flask.rst>`__, `Django <django.rst>`__, `Pyramid <pyramid.rst>`__,
    `PasteDeploy <paste.rst>`__."""
COOKIE = """
    ``CookieSettings(...)``, or a mapping of the same names, is the option ``cookie`` of
    ``SessionMiddleware``.  ``session.cookie`` sets the same names for one session."""
WAL = """
    ``WALStore(path, ...)``; *path* is the directory, which is made if it does not exist."""
MEMORY = """
    ``MemoryStore(...)`` keeps sessions in one process, for tests."""
REDIS = """
    ``RedisStore(server, ...)``; *server* is an address or a client of the package ``redis``.
    `Redis in detail <redis.rst>`__ lists the addresses."""

DECLARATIONS: Sequence[tuple[str, str, type[Options], Any]] = (
    ("SessionMiddleware", MIDDLEWARE, ManagerOptions, MiddlewareKeywords),
    ("CookieSettings", COOKIE, CookieSettings, CookieKeywords),
    ("WALStore", WAL, WALOptions, WALKeywords),
    ("MemoryStore", MEMORY, MemoryOptions, MemoryKeywords),
    ("RedisStore", REDIS, RedisOptions, RedisKeywords),
)


def titled(text: str, line: str) -> str:
    """Return a section's title."""
    return f"{text}\n{line * len(text)}\n"


def page(title: str, *parts: str) -> str:
    """Return a whole page."""
    rule = "=" * len(title)
    return "\n".join([NOTE, f"{rule}\n{title}\n{rule}\n", *parts])


def wrapped(text: str, by: int = 0) -> str:
    """Return a paragraph, wrapped."""
    filled = fill(text, WIDTH - by, break_long_words=False, break_on_hyphens=False)
    return indent(filled, " " * by) + "\n"


def title_of(name: str) -> str:
    """Return the title of a page in ``docs/``."""
    found = re.search(r"^=+\n(.+)\n=+$", (DOCS / name).read_text(), re.MULTILINE)
    assert found is not None, name
    return found[1].strip()


def linked(text: str) -> str:
    """Return *text* with links in the place of names of pages."""
    return re.sub(r"docs/([\w-]+\.rst)", lambda at: f"`{title_of(at[1])} <{at[1]}>`__", text)


def written(hint: Any) -> str:
    """Return a type as its declaration writes it, without the parts for type checkers only."""
    text = str(getattr(hint, "__forward_arg__", hint))
    for name, alias in ALIASES.items():
        if alias is not None:
            members = [
                repr(item) if isinstance(item, str) else getattr(item, "__name__", str(item))
                for part in alias.__args__
                for item in getattr(part, "__args__", (part,))
            ]
            text = re.sub(rf"\b{name}\b", " | ".join(members), text)
    text = re.sub(r"Literal\[([^]]*)\]", lambda at: at[1].replace(", ", " | "), text)
    text = re.sub(r"\bdict\[str, Any\]", "dict", text)
    text = text.replace("CookieKeywords", "Mapping")
    return " ".join(text.split())


def annotations(keywords: Any) -> Mapping[str, Any]:
    """Return the declarations of a ``TypedDict`` and of its bases."""
    found: dict[str, Any] = dict(keywords.__annotations__)
    return found


def options() -> str:
    """Return the page of the options."""
    parts = [
        wrapped(
            "Durations are seconds, as a number, or a ``timedelta``.  A name that is not known is"
            " refused, with the nearest name that is known."
        )
    ]
    for title, about, cls, keywords in DECLARATIONS:
        hints = annotations(keywords)
        parts += [titled(title, "="), wrapped(" ".join(about.split()).replace(". ", ".  "))]
        for name, default, doc in rows(cls):
            is_required = default == "required"
            given = "required" if is_required else f"default ``{default}``"
            parts.append(
                f"``{name}`` : ``{written(hints[name])}`` : {given}\n"
                + wrapped(linked(doc).rstrip(".") + ".", 4)
            )
    return page("Options", *parts)


def usage_of(name: str, parser: argparse.ArgumentParser) -> str:
    """Return one line that shows how a command is called."""
    words = ["litesess", name]
    words.append("[OPTIONS]")
    for action in parser._actions:
        if not action.option_strings:
            many = {
                "*": f"[{shown(action)} ...]",
                "+": f"{shown(action)} ...",
                "?": f"[{shown(action)}]",
            }
            words.append(many.get(str(action.nargs), shown(action)))
    return " ".join(words)


def shown(action: argparse.Action) -> str:
    """Return the name by which the help shows an argument's value."""
    if action.metavar:
        return str(action.metavar)
    if action.choices:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return action.dest.upper()


def sentence(text: str) -> str:
    """Return text from the help as a sentence of a page."""
    text = " ".join(text.split()).replace("*", r"\*")
    return text[:1].upper() + text[1:].rstrip(".") + "."


def arguments_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield a definition for each argument of a command."""
    for action in parser._actions:
        if action.help in (None, argparse.SUPPRESS) or "--help" in action.option_strings:
            continue
        value = f" {shown(action)}" if action.nargs != 0 else ""
        names = [f"``{name}{value}``" for name in action.option_strings] or [f"``{shown(action)}``"]
        about = wrapped(sentence(str(action.help) % {"prog": "litesess", **vars(action)}), 4)
        yield f"{', '.join(names)}\n{about}"


def commands() -> str:
    """Return the page of the commands."""
    all_of_them = Commands(MODULES)
    all_of_them.load_all()
    parts = [
        wrapped(
            "Every command and every option, as ``litesess COMMAND --help`` shows them."
            "  `The command line <cli.rst>`__ explains addresses, keys and the work as root."
        )
    ]
    (parsers,) = (
        action.choices
        for action in all_of_them.parser._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    for name, parser in dict(parsers).items():
        parts += [
            titled(f"litesess {name}", "="),
            *(wrapped(sentence(text)) for text in (parser.description or "").split("\n\n")),
            f"::\n\n    {usage_of(name, parser)}\n",
            *arguments_of(parser),
            f"Example::\n\n    {str(parser.epilog).partition(chr(10))[2].strip()}\n",
        ]
    parts.append(titled("Exit status", "="))
    parts += [f"{code.value}\n" + wrapped(sentence(code.meaning), 4) for code in Exit]
    return page("Commands and options", *parts)


def metrics() -> str:
    """Return the page of the metrics."""
    parts = [
        wrapped(
            "``litesess.metrics`` gives these numbers of a store to Prometheus, as gauges and"
            " counters with the label ``store``.  A counter's name ends with ``_total`` in the"
            " OpenMetrics text.  Install ``litesess[metrics]`` for it;"
            " `Users' sessions, events and metrics <owners.rst#metrics>`__ has the code."
        ),
        wrapped(
            "Each worker process answers for itself.  The gauges of sessions and bytes are the"
            " store's, and the same in all workers.  The counters are the answering worker's."
        ),
    ]
    for field, (name, grows, doc) in _NUMBERS.items():
        kind, end = ("counter", "_total") if grows else ("gauge", "")
        parts.append(
            f"``{_PREFIX}{name}{end}`` : {kind}\n"
            + wrapped(f"{doc}; ``store.stats().{field}``.", 4)
        )
    return page("Metrics", *parts)


PAGES = {"options.rst": options, "commands.rst": commands, "metrics.rst": metrics}


def main(to: Path = DOCS) -> None:
    """Write the pages."""
    for name, text in PAGES.items():
        (to / name).write_text(text())


if __name__ == "__main__":
    main()
