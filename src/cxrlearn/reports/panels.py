"""A grid of small square panels, 8.5 cm wide, that comes out the same to the byte every time.

matplotlib is imported within functions, and pyplot never: nothing global changes, and a command
that draws nothing does not pay for it.
"""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 8.5
"""Of every figure in cm: one column of a paper."""
LINE = "#0072B2"
"""Okabe and Ito's blue: told from grey by everyone, and dark in print."""
CHANCE = "#767676"
"""Grey of chance lines, legible on white."""
INK = "#222222"

_LETTERS = 6.0
_TITLE = 0.27  # cm, one line of a panel's title
_LEFT, _RIGHT, _TOP, _BOTTOM = 1.0, 0.2, 1.05, 0.9  # cm around all panels
_GAP = 0.3  # cm between panels


@dataclass(frozen=True)
class Panel:
    """One set of axes."""

    name: str
    """First line of the title, in bold; on two lines or cut where it is long."""
    lines: tuple[str, ...]
    """More lines of the title, with the numbers."""
    draw: Callable[[Axes], None] | None
    """Draws into the axes; None leaves the panel empty."""
    reason: str | None = None
    """What an empty panel says."""


@dataclass(frozen=True)
class Scaffold:
    """What all panels of a figure share."""

    title: str
    """Above all panels."""
    lines: str
    """What the lines of each panel's title are."""
    x: str
    """Name of the horizontal axis."""
    y: str
    """Name of the vertical axis."""
    own_scales: bool = False
    """Each panel has its own limits and tick labels; otherwise all are from 0 to 1."""
    aspect: float = 1.0
    """Height of a panel over its width."""
    tick_room: float = 0.35
    """cm more between panels with tick labels of their own."""


@dataclass(frozen=True)
class _Layout:
    """Where panels stand, in cm from the upper left corner of the figure."""

    columns: int
    """Panels a row."""
    width: float
    """Of each panel."""
    height: float
    """Of each panel."""
    left: tuple[float, ...]
    """Left edge of each column."""
    top: tuple[float, ...]
    """Upper edge of the axes of each row, below their titles."""
    total: float
    """Height of the figure."""


@contextmanager
def _style() -> Iterator[None]:
    """Draw with our settings whatever the user's matplotlibrc says, and put those back."""
    from matplotlib import style  # noqa: PLC0415 - see the head of the module

    ours = {
        "axes.edgecolor": CHANCE,
        "axes.labelsize": _LETTERS + 1,
        "axes.linewidth": 0.5,
        "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
        "font.size": _LETTERS,
        "svg.fonttype": "path",
        "svg.hashsalt": "cxrlearn",
        "text.color": INK,
        "text.parse_math": False,  # a label may hold a $
        "xtick.major.size": 2.0,
        "xtick.major.width": 0.5,
        "ytick.major.size": 2.0,
        "ytick.major.width": 0.5,
    }
    with style.context(["default", ours]):
        yield


def printable(text: str, most: int = 60) -> str:
    """Return `text` on one line without control characters, cut with an ellipsis."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain if len(plain) <= most else plain[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def panel_figure(panels: Sequence[Panel], scaffold: Scaffold) -> Figure:
    """Return the figure: one, two or three panels a row."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - see the head of the module

    columns = 1 if len(panels) == 1 else 2 if len(panels) <= 4 else 3
    names = [wrapped(panel.name, 54 // columns) for panel in panels]
    lines = [len(name) + len(panel.lines) for name, panel in zip(names, panels, strict=True)]
    layout = _arranged(lines, columns, scaffold)
    with _style():
        figure = Figure(figsize=(WIDTH / 2.54, layout.total / 2.54))
        for number, (panel, name) in enumerate(zip(panels, names, strict=True)):
            axes = figure.add_axes(_box(layout, number))
            _write_title(axes, name, panel.lines)
            outer = (number % columns == 0, number + columns >= len(panels))
            _fill(axes, panel, scaffold, outer, 45 // columns)
        _write_around(figure, scaffold, layout.total)
    return figure


def _arranged(lines: Sequence[int], columns: int, scaffold: Scaffold) -> _Layout:
    """Place the panels; each row leaves room for the longest of its titles."""
    own = scaffold.tick_room if scaffold.own_scales else 0.0
    start = _LEFT + own / 2
    width = (WIDTH - start - _RIGHT - (columns - 1) * (_GAP + own)) / columns
    height = width * scaffold.aspect
    top, y = [], _TOP
    for first in range(0, len(lines), columns):
        y += max(lines[first : first + columns]) * _TITLE
        top.append(y)
        y += height + _GAP + own
    left = tuple(start + column * (width + _GAP + own) for column in range(columns))
    return _Layout(columns, width, height, left, tuple(top), y - _GAP - own + _BOTTOM)


def _box(layout: _Layout, number: int) -> tuple[float, float, float, float]:
    """Return left, bottom, width and height of a panel, as shares of the figure."""
    row, column = divmod(number, layout.columns)
    bottom = layout.total - layout.top[row] - layout.height
    return (
        layout.left[column] / WIDTH,
        bottom / layout.total,
        layout.width / WIDTH,
        layout.height / layout.total,
    )


def _write_title(axes: Axes, name: Sequence[str], lines: Sequence[str]) -> None:
    """Write the name in bold and the lines below it, from the axes upwards."""
    pitch = _TITLE / 2.54 * 72
    for number, text in enumerate((*reversed(lines), *reversed(name))):
        axes.annotate(
            text,
            (0, 1),
            xytext=(0, 3 + number * pitch),
            xycoords="axes fraction",
            textcoords="offset points",
            weight="bold" if number >= len(lines) else "normal",
        )


def _write_around(figure: Figure, scaffold: Scaffold, height: float) -> None:
    size = _LETTERS + 1
    top = 1 - 0.15 / height
    figure.text(0.015, top, printable(scaffold.title), va="top", weight="bold", fontsize=size)
    figure.text(0.015, top - 0.38 / height, scaffold.lines, va="top")
    figure.supxlabel(scaffold.x, fontsize=size, y=0.12 / height, va="bottom")
    figure.supylabel(scaffold.y, fontsize=size, x=0.12 / WIDTH, ha="left")


def wrapped(name: str, width: int) -> list[str]:
    """Return a name on one or two lines, broken after blanks, `_`, `/`, `,` and `-` if it can be.

    What does not fit into two lines is cut, with an ellipsis.
    """
    lines = [""]
    for part in re.findall(r"[^ _/,-]*[ _/,-]|[^ _/,-]+", printable(name, 200)):
        if lines[-1] and len(lines[-1]) + len(part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    lines = [line.strip() for line in lines]
    if len(lines) > 2:
        lines = [lines[0], " ".join(lines[1:]).ljust(width + 1)]
    return [printable(line, width) if len(line) > width else line for line in lines]


def _fill(
    axes: Axes, panel: Panel, scaffold: Scaffold, outer: tuple[bool, bool], letters: int
) -> None:
    """Draw the panel; `outer` says whether it is in the first column and the last of its own."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if panel.draw is None:
        axes.set(xticks=[], yticks=[], facecolor="#f2f2f2")
        text = "\n".join(textwrap.wrap(printable(panel.reason or "", 160), letters))
        axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
        return
    panel.draw(axes)
    if scaffold.own_scales:
        return
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    ticks, said = (0, 0.5, 1), ("0", "0.5", "1")
    axes.set_yticks(ticks, said if outer[0] else ("", "", ""))
    axes.set_xticks(ticks, said if outer[1] else ("", "", ""))


def figure_png(figure: Figure) -> bytes:
    """Return the figure as PNG, 300 dots an inch; equal figures give equal bytes."""
    return _rendered(figure, "png", {"Software": None})


def figure_svg(figure: Figure) -> str:
    """Return the figure as SVG, letters as outlines; equal figures give equal text."""
    return _rendered(figure, "svg", {"Date": None, "Creator": None}).decode("utf-8")


def _rendered(figure: Figure, form: str, metadata: dict[str, None]) -> bytes:
    buffer = io.BytesIO()
    with _style(), warnings.catch_warnings():
        # A name in a script that the font does not have shows boxes; tables have it in full.
        warnings.filterwarnings(
            "ignore", message=r"Glyph .* missing from font", category=UserWarning
        )
        figure.savefig(buffer, format=form, dpi=300, metadata=metadata)
    return buffer.getvalue()
