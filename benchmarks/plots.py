"""Pictures as SVG: horizontal bars from zero on a linear axis, each with its value at its end."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from benchmarks.labels import is_ours
from benchmarks.pictures import Bar, Picture
from benchmarks.targets import OURS

_OURS: Final = "#b5533c"  # the default
_OURS_TOO: Final = "#dba394"  # other ways to use litesess
_OTHERS: Final = "#8a9aa8"
#: In pixels: the width of all and of the column of labels, and the room for values at the right.
_WIDTH: Final = 760
_LABELS: Final = 290
_VALUES: Final = 70
_EDGE: Final = 14
#: In pixels: the height of a line of the title, of a panel's title, and of a bar with its gap.
_TITLE: Final = 20
_PANEL: Final = 28
_ROW: Final = 22
_BAR: Final = 15
_AXIS: Final = 26
_TITLE_LETTERS: Final = 88
#: An axis has up to so many marks.
_MARKS: Final = 5


def plot(picture: Picture, directory: Path) -> str:
    """Draw a picture; return the name of its file."""
    name = f"{picture.name}.svg"
    (directory / name).write_text("\n".join([*_svg(picture)]) + "\n", encoding="utf-8")
    return name


def _svg(picture: Picture) -> Iterator[str]:
    title = textwrap.wrap(picture.title, _TITLE_LETTERS)
    rows = sum(len(panel.bars) for panel in picture.panels)
    heads = sum(bool(panel.title) for panel in picture.panels)
    top = 10 + len(title) * _TITLE + 8
    bottom = top + rows * _ROW + heads * _PANEL + 4
    bars = [bar for panel in picture.panels for bar in panel.bars]
    longest = max(max(bar.value, bar.most) for bar in bars) or 1.0
    scale = (_WIDTH - _LABELS - _VALUES - _EDGE) / longest
    height = bottom + _AXIS
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"'
        f' width="{_WIDTH}" height="{height}" font-family="DejaVu Sans, Verdana, sans-serif"'
        ' font-size="12" fill="#222" role="img">'
    )
    yield f"<title>{escape(picture.title)}</title>"
    yield f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>'
    for at, line in enumerate(title):
        yield _text(_EDGE, 24 + at * _TITLE, line, 'font-size="14" font-weight="bold"')
    for mark in marks(longest):
        x = _LABELS + mark * scale
        yield _line(x, top, x, bottom, "#e4e4e4")
        said = f"{100 * mark:.0f} %" if picture.is_percent else f"{mark:,g}".replace(",", " ")
        yield _text(x, bottom + 16, said, 'text-anchor="middle" font-size="11" fill="#555"')
    y = top
    for panel in picture.panels:
        if panel.title:
            yield _text(_EDGE, y + 18, panel.title, 'font-weight="bold"')
            y += _PANEL
        for bar in panel.bars:
            yield from _row(picture, bar, y, scale)
            y += _ROW
    yield _line(_LABELS, top, _LABELS, bottom, "#555")
    yield "</svg>"


def _row(picture: Picture, bar: Bar, y: float, scale: float) -> Iterator[str]:
    """Draw a bar, its label, its value, and a line from the least to the most of the rounds."""
    colour = _OTHERS
    weight = ""
    if bar.candidate == OURS:
        colour, weight = _OURS, ' font-weight="bold"'
    elif is_ours(bar.candidate):
        colour = _OURS_TOO
    middle = y + _ROW / 2
    length, least, most = (max(each, 0) * scale for each in (bar.value, bar.least, bar.most))
    yield _text(_LABELS - 8, middle + 4, bar.label, f'text-anchor="end"{weight}')
    yield (
        f'<rect x="{_LABELS}" y="{middle - _BAR / 2:.1f}" width="{length:.1f}"'
        f' height="{_BAR}" fill="{colour}"/>'
    )
    yield _line(_LABELS + least, middle, _LABELS + most, middle, "#333")
    yield _text(_LABELS + max(length, most) + 6, middle + 4, picture.text_of(bar), weight.strip())


def marks(longest: float) -> list[float]:
    """Return the values that the axis names: multiples of 1, 2 or 5 times a power of ten."""
    rough = longest / _MARKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough)
    return [round(step * at, 12) for at in range(int(longest / step * (1 + 1e-9)) + 1)]


def _text(x: float, y: float, text: str, how: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {how}>{escape(text)}</text>'


def _line(x: float, y: float, to_x: float, to_y: float, colour: str) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{colour}"/>'
