"""How each system is drawn: the same colour in every figure and beside its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from reports import canvas, units
from sim.results.summary import Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = len(canvas.LINES)
"""More colours cannot be told apart, least of all by everybody."""


@dataclass(frozen=True, slots=True)
class Look:
    """The colour of a system; grey for those that stand behind the others."""

    colour: str

    @property
    def named(self) -> bool:
        """Whether it has a colour of its own."""
        return self.colour != canvas.GREY

    @property
    def variable(self) -> str:
        """The colour as a page writes it."""
        return canvas.THEMED[self.colour.lower()]

    @property
    def style(self) -> dict[str, Any]:
        """Of a line: grey ones are thin and lie below."""
        if self.named:
            return {"color": self.colour, "linewidth": 1.6, "zorder": 3}
        return {"color": self.colour, "linewidth": 1.0, "zorder": 2}


def of(summary: Summary) -> dict[str, Look]:
    """The look of every system, the best first; of many, these and the baseline alone have a colour."""
    comparison = summary["comparison"]
    if comparison is None:
        return {name: Look(canvas.LINES[0]) for name in summary["systems"]}
    ranked = [row["system"] for row in comparison["rows"]]
    coloured = (
        ranked[:MOST]
        if comparison["baseline"] in ranked[:MOST]
        else [*ranked[: MOST - 1], comparison["baseline"]]
    )
    colours = dict(zip(coloured, canvas.LINES, strict=False))
    return {name: Look(colours.get(name, canvas.GREY)) for name in ranked}


def legend(
    figure: Figure, looks: Mapping[str, Look], names: Sequence[str], more: Mapping[str, Any] = {}
) -> None:
    """The legend of lines by system: a line for each colour, one for all grey ones.

    ``more`` are other lines and their dashes, in ink.
    """
    shown = [name for name in looks if name in names and looks[name].named]
    handles = [Line2D([], [], color=looks[n].colour, label=units.shortened(n)) for n in shown]
    if others := len(names) - len(shown):
        handles.append(Line2D([], [], color=canvas.GREY, label=grey(others)))
    handles += [
        Line2D([], [], color=canvas.MIDDLE, linestyle=dash, label=label) for label, dash in more.items()
    ]
    longest = max((len(str(handle.get_label())) for handle in handles), default=0)
    figure.legend(handles=handles, loc="outside lower center", ncols=2 if longest > 18 else 3)


def grey(others: int) -> str:
    """What a legend says of the systems that have no colour of their own."""
    return "1 other (hover for its name)" if others == 1 else f"{others} others (hover for names)"


def unnamed(axes: Axes) -> None:
    """A panel without grid behind its rows."""
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
