"""Pictures as SVG: horizontal bars from zero on a linear axis, each with its value at its end."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.labels import is_ours
from benchmarks.pictures import Bar, Panel, Picture
from benchmarks.targets import OURS

_OURS: Final = "#b5533c"  # the default
_OURS_TOO: Final = "#dba394"  # other ways to use litesess
_OTHERS: Final = "#8a9aa8"
#: In inches: the width of all, a bar with its gap, a panel's title and axis, a line of the title.
_WIDTH: Final = 7.6
_ROW: Final = 0.23
_PANEL: Final = 0.5
_TITLE: Final = 0.22
_TITLE_LETTERS: Final = 84


def plot(picture: Picture, directory: Path) -> str:
    """Draw a picture; return the name of its file."""
    title = textwrap.wrap(picture.title, _TITLE_LETTERS)
    counts = [len(panel.bars) for panel in picture.panels]
    height = sum(counts) * _ROW + len(counts) * _PANEL + len(title) * _TITLE
    # Without a date and with fixed names inside, the same numbers give the same file.
    with mpl.rc_context({"svg.hashsalt": picture.name, "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = figure.subplots(
            len(counts), 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": counts}
        )
        for panel, axis in zip(picture.panels, axes[:, 0], strict=True):
            _draw(picture, panel, axis)
        figure.suptitle("\n".join(title), fontsize=10, fontweight="bold", x=0.01, ha="left")
        name = f"{picture.name}.svg"
        figure.savefig(directory / name, metadata={"Date": None})
    return name


def _draw(picture: Picture, panel: Panel, axis: Any) -> None:
    bars = panel.bars
    values = [max(bar.value, 0) for bar in bars]
    spread = [
        [value - max(bar.least, 0) for value, bar in zip(values, bars, strict=True)],
        [max(bar.most, 0) - value for value, bar in zip(values, bars, strict=True)],
    ]
    drawn = axis.barh(
        [bar.label for bar in bars], values, xerr=spread, color=[*map(_colour, bars)], ecolor="#333"
    )
    axis.bar_label(drawn, [picture.text_of(bar) for bar in bars], padding=4)
    axis.invert_yaxis()
    axis.set_xlim(left=0)
    axis.margins(x=0.1)
    axis.xaxis.set_major_formatter(
        (lambda mark, _at: f"{100 * mark:.0f} %")
        if picture.is_percent
        else (lambda mark, _at: f"{mark:,g}".replace(",", " "))
    )
    axis.set_title(panel.title, loc="left", fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)


def _colour(bar: Bar) -> str:
    if bar.candidate == OURS:
        return _OURS
    return _OURS_TOO if is_ours(bar.candidate) else _OTHERS
