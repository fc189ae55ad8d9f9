"""What a trace is, as a page: its size, lengths and times, and how soon its content is used again."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import PercentFormatter

from reports import canvas, units
from reports.canvas import Figure, Picture
from reports.frame import Part, Row
from reports.frame import study as page
from reports.inline import image
from workloads.describing import Description, Spread

POINTS = 300
HEADINGS = ("", "mean", "p10", "p50", "p90", "p99", "max")
LENGTHS = (
    "Share of the requests that are no longer than so many tokens, through the percentiles of the table."
)
REUSE = (
    "Share of the prompt tokens that were used before, no longer ago than the time on the x axis: what a "
    "cache finds that keeps everything so long."
)
DEFINITIONS = (
    (
        "Seen before",
        "Prompt tokens that an earlier prompt or reply has at the same place behind the same content.",
    ),
    ("Gap", "Time between the arrivals of consecutive requests, of all or of one session."),
    ("Think time", "Time between a reply and the next turn, where turns wait for replies."),
    (
        "CV of gaps",
        "Standard deviation of the gaps over their mean: 1 for Poisson arrivals, more for bursts.",
    ),
    ("p10, p50, p90, p99", "So many percent of the values stay at or below this one."),
)


def answer(found: Description) -> str:
    """How much of the prompts a cache could find at most."""
    sizes = f"{found.requests:,} requests of {found.sessions:,} sessions"
    if found.ideal_hit_rate is None:
        return f"{sizes}; the trace does not tell what prompts share."
    return f"{units.percent(found.ideal_hit_rate)} of the prompt tokens were seen before, in {sizes}."


def render(found: Description) -> str:
    """The page as HTML5 text, self-contained, in the frame of all pages."""
    rate = "" if found.rate_per_s is None else f", {units.significant(found.rate_per_s)} a second"
    facts = [
        f"{units.tokens(found.input_tokens)} input and {units.tokens(found.output_tokens)} output tokens "
        f"in {units.significant(found.span_s)} s{rate}.",
        *([] if found.gap_cv is None else [f"CV of gaps: {units.significant(found.gap_cv)}."]),
    ]
    if found.hits_between_sessions is not None:
        facts.append(
            f"Of what was seen before, {units.percent(found.hits_between_sessions)} in another session."
        )
    rows = [Row((name, *_cells(spread))) for name, spread in found.spreads.items()]
    heads = [Row((f"{tokens:,}", units.percent(share))) for tokens, share in found.heads]
    pictures = [Picture(lengths(found), LENGTHS)]
    if found.reuse_curve is not None and len(found.reuse_curve[0]):
        pictures.append(Picture(reuse(found), REUSE))
    parts = [
        Part("Lengths and times", headings=HEADINGS, rows=rows, sorts=False),
        Part("Figures", images=[image(picture) for picture in pictures]),
    ]
    if heads:
        parts.append(Part("Common beginnings", headings=("tokens", "of the requests"), rows=heads))
    return page(
        subject="what a trace is",
        about="Sizes, times and what prompts share.",
        name=found.origin,
        answer=units.unbroken(answer(found)),
        notes=[*facts, *found.notes],
        parts=parts,
        definitions=DEFINITIONS,
    )


def _cells(spread: Spread) -> list[str]:
    return [units.significant(value) for value in (spread.mean, *spread.percentiles.values(), spread.max)]


@canvas.styled
def lengths(found: Description) -> Figure:
    """Lengths of prompts and replies through their percentiles."""
    figure, axes = canvas.new("Lengths of prompts and replies", "tokens", "share of the requests")
    for name, spread, colour in (
        ("input", found.input, canvas.BLUE),
        ("output", found.output, canvas.VERMILION),
    ):
        upto = [p / 100 for p in spread.percentiles]
        axes.plot(list(spread.percentiles.values()), upto, "o-", color=colour, label=f"{name} tokens")
    canvas.log(axes, "x")
    axes.set_ylim(0, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    canvas.legend(figure)
    return figure


@canvas.styled
def reuse(found: Description) -> Figure:
    """How soon prompt tokens are used again."""
    assert found.reuse_curve is not None
    ages, shares = found.reuse_curve
    keep = np.unique(np.linspace(0, len(ages) - 1, min(POINTS, len(ages))).astype(int))
    figure, axes = canvas.new(
        "Prompt tokens seen before", "seconds since last use", "share of the prompt tokens"
    )
    axes.step(
        ages[keep].clip(min=0.1), shares[keep], where="post", color=canvas.BLUE, label="used again within"
    )
    canvas.log(axes, "x")
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    canvas.legend(figure)
    return figure
