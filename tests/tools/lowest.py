"""Print the lowest versions that setup.cfg allows, as pip takes them: the core's, and the extras'.

::

    pip install --no-deps --target LOWEST $(python -m tests.tools.lowest)
    PYTHONPATH=LOWEST python -m pytest ...
"""

from __future__ import annotations

import re
from configparser import ConfigParser

from tests.tools.servers import ROOT

#: The extras that no app needs to use litesess.
TOOLS = {"bench", "docs", "test"}


def main() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    needed = setup["options"]["install_requires"]
    for extra, more in setup["options.extras_require"].items():
        if extra not in TOOLS:
            needed += f"\n{more}"
    lowest = dict(re.findall(r"^([\w.-]+)(?:\[\w+\])? >= ([\d.]+)$", needed, re.MULTILINE))
    assert len(lowest) == len({line for line in needed.splitlines() if line}), "no lower bound"
    print(*(f"{name}=={version}" for name, version in lowest.items()))


if __name__ == "__main__":
    main()
