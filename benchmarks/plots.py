"""Tables as pictures: SVG for the page, PNG for where SVG is not shown."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.results import file_name, shown
from benchmarks.rounds import Table

_OURS: Final = "#b5533c"
_OTHERS: Final = "#8a9aa8"
#: In inches: a bar's height, the height of a panel's title and axis, the width of all.
_BAR: Final = 0.24
_MARGIN: Final = 0.75
_WIDTH: Final = 7.2


def plot(table: Table, directory: Path) -> list[str]:
    """Draw a table; return the names of the files.

    Each case is a panel, each candidate a bar on a logarithmic scale from the median of the
    rounds, with a line from the least to the most of them.
    """
    cases = table.cases()
    counts = [sum(cell.case == case for cell in table.cells) for case in cases]
    height = sum(counts) * _BAR + _MARGIN * len(cases)
    # Without a date and with fixed names inside, the same numbers give the same file.
    mpl.rcParams["svg.hashsalt"] = table.name
    mpl.rcParams["svg.fonttype"] = "none"
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    panels = figure.subplots(
        len(cases), 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": counts}
    )
    for case, panel in zip(cases, panels[:, 0], strict=True):
        cells = [cell for cell in table.cells if cell.case == case]
        medians = [cell.median for cell in cells]
        spread = [
            [cell.median - min(cell.values) for cell in cells],
            [max(cell.values) - cell.median for cell in cells],
        ]
        colours = [_OURS if cell.candidate.startswith("litesess") else _OTHERS for cell in cells]
        bars = panel.barh(
            [cell.candidate for cell in cells], medians, xerr=spread, color=colours, ecolor="#444"
        )
        panel.bar_label(bars, [f" {shown(median)}" for median in medians], fontsize=7, padding=3)
        panel.invert_yaxis()
        if min(medians) > 0:
            panel.set_xscale("log")
        panel.margins(x=0.12)
        panel.set_title(case, loc="left", fontsize=9)
        panel.tick_params(labelsize=7)
        panel.spines[["top", "right"]].set_visible(False)
    panels[-1, 0].set_xlabel(
        f"{table.unit}, {'more' if table.more_is_better else 'less'} is better", fontsize=8
    )
    figure.suptitle(table.name, fontsize=11)
    names = []
    for kind, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
        names.append(f"{file_name(table)}.{kind}")
        figure.savefig(directory / names[-1], metadata=metadata, dpi=110)
    return names
