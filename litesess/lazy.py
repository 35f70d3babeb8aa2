"""Packages that import their public names at the first use.

``import litesess`` is then quick everywhere, such as in the plugin for pytest, and a program
imports only the parts that it uses: an app with its sessions in Redis imports no engine.

Source: PEP 562.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package that imports its names when they are first used.

    Args:
        package: its name.
        homes: by name: the module that it comes from.
    """

    def attribute(name: str) -> Any:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(home), name)
        setattr(sys.modules[package], name, value)
        return value

    return attribute
