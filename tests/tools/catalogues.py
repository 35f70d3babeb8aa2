"""Catalogues say of each of their rows which tests hold it, or why there is none."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from litesess.testing import contract

HERE = Path(__file__).parents[1]

#: ``module::test``, several of them, or ``none: reason``; the module ``testing`` is the suite
#: that every store must pass.
Row = str | tuple[str, ...]


def names_of(row: Row) -> list[str]:
    """Return the tests that a row names, each with its module."""
    names = (row,) if isinstance(row, str) else row
    return [name for name in names if not name.startswith("none: ")]


def rows_with_tests(rows: Mapping[Any, Row]) -> list[Any]:
    """Return the keys of the rows that name any."""
    return [key for key, row in rows.items() if names_of(row)]


def missing(row: Row) -> list[str]:
    """Return the tests that a row names and that are not there."""
    return [named for named in names_of(row) if not _is_there(*named.split("::"))]


def _is_there(module: str, name: str) -> bool:
    return name.startswith("test_") and name in _functions_of(module)


@cache
def _functions_of(module: str) -> Iterable[str]:
    paths = [Path(contract.__file__)] if module == "testing" else HERE.rglob(f"{module}.py")
    trees = [ast.parse(path.read_text()) for path in paths]
    return {
        node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
    }
