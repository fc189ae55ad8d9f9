"""A result as a notebook shows it: the answer with its table, and figures that draw themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from reports import canvas, comparison, figures, units, validity
from reports.rows import compare
from reports.sentences import sentence
from sim.results import metrics
from sim.results.summary import Summary
from workloads.errors import InputError

if TYPE_CHECKING:
    from sim.result import Result
    from sim.results.system_run import SystemRun


NAME, VALUE = "text-align: left", "text-align: right; white-space: nowrap"


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure that a notebook shows; `save` writes it as SVG or PNG, by the name of the file."""

    figure: Figure
    """matplotlib's, to be changed before it is shown."""

    def _repr_svg_(self) -> str:
        return canvas.svg(self.figure).decode()

    def save(self, path: str | Path) -> None:
        """Write it to a file that ends in .svg or .png."""
        writers: dict[str, Callable[[Figure], bytes]] = {".svg": canvas.svg, ".png": canvas.png}
        write = writers.get(Path(path).suffix)
        if write is None:
            raise InputError(f"{path}: allowed: a name that ends in .svg or .png")
        Path(path).write_bytes(write(self.figure))


def ttft(result: Result, system: str | None) -> Drawing:
    """Distributions of the time to first token with and without the cache."""
    name, run = _measured(result, system)
    if not (metrics.ttft_s(run.records) > 0).any():
        raise InputError(f"{name}: has no times; allowed: an engine, or a provider with latency")
    return Drawing(figures.ttft(name, run))


def tokens(result: Result, system: str | None) -> Drawing:
    """Prompt tokens computed and read from the cache, by turn, or by length where there are no turns."""
    return Drawing(figures.prompt_tokens(*_measured(result, system)))


def gpu_time(result: Result, system: str | None) -> Drawing:
    """GPU time busy and idle, with and without the cache, with the bill of GPUs paid by the hour."""
    name, run = _measured(result, system)
    if run.records.engine is None:
        raise InputError(f"{name}: holds no GPU; allowed: a system of kind engine")
    return Drawing(figures.gpu_time(name, result.summary()))


def _measured(result: Result, system: str | None) -> tuple[str, SystemRun]:
    """The system of that name, or the only one; InputError if there is none, or nothing to draw of it."""
    names = list(result.runs)
    if system is None and len(names) > 1:
        raise InputError(f"which system? allowed: {', '.join(names)}")
    name = names[0] if system is None else system
    if name not in names:
        raise InputError(f"{name!r}: no such system; allowed: {', '.join(names)}")
    run = result.measured()[name]
    if not len(run.records) or not len(run.twin):
        raise InputError(f"{name}: no request completed in the measured time: nothing to draw")
    return name, run


def html(summary: Summary) -> str:
    """The answer, what the figures are about, and the table: what the terminal shows, as HTML."""
    names = list(summary["systems"])
    several = summary["comparison"] is not None
    answer = comparison.sentence(summary) if several else sentence(summary, names[0])
    told = (validity.measured(summary), validity.intervals(summary), *validity.warnings(summary))
    lines = [
        f"<p><strong>{_text(answer)}</strong></p>",
        *(f"<p>{_text(line)}</p>" for line in told if line),
    ]
    if several:
        return "\n".join([*lines, _table(*comparison.table(summary))])
    rows = [[row.label, row.without, row.with_cache, row.saved_share] for row in compare(summary, names[0])]
    return "\n".join([*lines, _table(["", "without cache", "with cache", "saved, %"], rows)])


def _table(headings: list[str], rows: list[list[str]]) -> str:
    """Names to the left, figures whole and to the right, whatever the notebook's own style is."""
    head = "".join(f"<th>{_text(heading)}</th>" for heading in headings)
    body = "".join(
        f'<tr><th style="{NAME}">{_text(first)}</th>'
        + "".join(f'<td style="{VALUE}">{_text(cell)}</td>' for cell in cells)
        + "</tr>"
        for first, *cells in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _text(text: str) -> str:
    return escape(units.printable(text))
