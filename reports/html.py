"""One self-contained HTML page about a run: no script, no external resource, prints well."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reports import canvas, comparison, figures, side_by_side, units, validity
from reports.canvas import Picture
from reports.rows import TableRow, compare
from reports.sentences import claim_figures, claim_verdict, sentence
from sim.results.summary import Summary

if TYPE_CHECKING:
    from sim.experiment import Result

DEFINITIONS = (
    ("Without cache", "The same requests on the same system with prefix caching off."),
    (
        "Prompt tokens computed",
        "Tokens of the prompts that the model had to process; the others were read from the cache. "
        "Repeats after a preemption are not counted.",
    ),
    (
        "±",
        "Half of a 95 % interval: it would hold the true mean of such traffic in 19 of 20 cases. A "
        "difference whose interval holds zero is no difference that holds.",
    ),
    (
        "Hit rate, by tokens",
        "Prompt tokens read from the cache as a share of all prompt tokens, so a long prompt weighs more "
        "than a short one. It is not the share of requests with a hit.",
    ),
    (
        "TTFT",
        "Time to first token: from the arrival of a request to its first output token, waiting included.",
    ),
    (
        "TPOT",
        "Time per output token: from the first to the last token, divided by the output tokens after the "
        "first. One value per request.",
    ),
    ("p50, p99", "Half of the requests, or 99% of them, stay at or below this value. p50 is the median."),
    (
        "GPU-hours held and busy",
        "Held: GPUs times the time from the first arrival to the last token; that is what a rented GPU "
        "costs. Busy: the part of it in which the engine computed. A cache shortens the busy part, which "
        "turns into money only if fewer GPUs are held or more requests are served on them.",
    ),
    (
        "Requests completed, rejected, timed out, aborted",
        "How requests ended, where not all completed. Tokens, hit rates, TTFT and TPOT are of completed "
        "ones only, so the requests without and with the cache may be others; GPU-hours are of all.",
    ),
    (
        "Requests/s within slo",
        "Completed requests per second that keep every limit under slo in the configuration below.",
    ),
    (
        "Evicted blocks, preemptions",
        "Cached blocks given up for new ones, and running requests pushed out because memory was short.",
    ),
    (
        "Bill of a provider",
        "Input that is neither read nor written pays the input price, written tokens the price of the "
        "lifetime asked for, read ones the cached price; the three add up to the prompt. Cache objects pay "
        "their making and their rent; the tokens of their making are not among those computed. The best "
        "strategy is the cheapest of all placements of marks and lifetimes on offer.",
    ),
    (
        "Estimate",
        "The number of KV blocks is computed from the GPU's memory as the engine would, and is not the "
        "count that the engine prints at its start. The note says how far such estimates were off where "
        "both are known.",
    ),
    (
        "Uncalibrated",
        "Times come from a formula (the data sheet of the GPU and the shape of the model, or numbers given "
        "by hand), not from a measurement. Token counts and hit rates depend on times only through the "
        "order in which requests come.",
    ),
)
"""Terms of the page and what they mean."""


@dataclass(frozen=True, slots=True)
class Section:
    """What the page says about one system."""

    name: str
    sentence: str
    calibrated: bool | None
    notes: list[str]
    rows: list[TableRow]
    images: list[Image]


@dataclass(frozen=True, slots=True)
class Image:
    """A figure as a data URI with its text."""

    source: str
    title: str
    caption: str
    width: int
    height: int


def render(result: Result, summary: Summary | None = None) -> str:
    """The page as HTML5 text. ``summary`` is ``result.summary()`` where the caller has it already.

    It holds no wall-clock times: the same configuration gives the same bytes.
    """
    summary = result.summary() if summary is None else summary
    measured = result.measured()
    sections = [
        Section(
            name=name,
            sentence=units.unbroken(sentence(summary, name)),
            calibrated=run.calibrated,
            notes=run.notes,
            rows=compare(summary, name),
            images=[image(picture) for picture in figures.of_system(name, run, summary)],
        )
        for name, run in measured.items()
    ]
    headings, priced = side_by_side.table(summary)
    several = summary["comparison"] is not None
    columns, ranked = comparison.table(summary) if several else ([], [])
    return page(
        "run.html",
        name=summary["name"],
        requests=f"{summary['requests']:,}",
        tokens=units.unbroken(units.tokens(result.input_tokens)),
        seed=summary["seed"],
        version=summary["version"],
        uncalibrated=[section.name for section in sections if section.calibrated is False],
        sections=sections,
        answer=units.unbroken(comparison.sentence(summary)) if several else "",
        measured=validity.measured(summary),
        warnings=validity.warnings(summary),
        columns=columns,
        ranked=ranked,
        intervals=validity.intervals(summary),
        side_by_side=priced,
        crossovers=side_by_side.verdicts(summary) if "crossovers" in summary else [],
        headings=headings,
        comparisons=[image(picture) for picture in side_by_side.pictures(summary)],
        overview=image(overview) if (overview := figures.of_experiment(measured)) else None,
        claims=[
            {**claim, "verdict": claim_verdict(claim), "figures": claim_figures(claim)}
            for claim in summary["claims"]
        ],
        definitions=DEFINITIONS,
        configuration=result.config.to_yaml(paths_as_written=True),
    )


def page(
    template: str,
    *,
    name: str,
    version: str,
    seed: int,
    uncalibrated: list[str],
    definitions: Sequence[tuple[str, str]],
    configuration: str,
    **own: object,
) -> str:
    """``template``, which extends ``page.html``, as text: everything escaped, nothing undefined.

    ``uncalibrated`` are the systems whose times are not measured, ``definitions`` terms and what they mean,
    ``configuration`` is YAML. ``own`` is what the template itself wants.
    """
    environment = Environment(
        loader=PackageLoader("reports", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["figure"] = figure
    return environment.get_template(template).render(
        name=name,
        version=version,
        seed=seed,
        uncalibrated=uncalibrated,
        definitions=definitions,
        configuration=configuration,
        **own,
    )


def figure(text: str) -> Markup:
    """A cell of a table that may be broken before its ± and nowhere else.

    >>> str(figure("90.7 ± 0.4%"))
    '<span>90.7</span> <span>± 0.4%</span>'
    """
    value, sign, half_width = text.partition(" ± ")
    if not sign:
        return Markup("<span>{}</span>").format(text)
    return Markup("<span>{}</span> <span>± {}</span>").format(value, half_width)


def image(picture: Picture) -> Image:
    """``picture`` as an SVG inside the page."""
    width, height = (round(96 * inches) for inches in picture.figure.get_size_inches())
    return Image(
        source="data:image/svg+xml;base64," + base64.b64encode(canvas.svg(picture.figure)).decode("ascii"),
        title=picture.figure.axes[0].get_title(loc="left"),
        caption=picture.caption,
        width=width,
        height=height,
    )
