"""The page about a run: the answer, one table of all systems, figures, and details folded per system."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports import (
    figures,
    frame,
    looks,
    notices,
    over_time,
    overlay,
    reuse,
    side_by_side,
    turns,
    units,
    validity,
)  # fmt: skip
from reports.canvas import Picture
from reports.frame import Row
from reports.inline import Image, image
from reports.ranked import ranked
from reports.rows import TableRow, compare
from reports.sentences import answer, claim_figures, claim_verdict, sentence
from sim.results.summary import Summary

if TYPE_CHECKING:
    from sim.result import Result
    from sim.results.system_run import SystemRun

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


FEW = 2
"""Up to so many systems have figures of their own beside those of all."""
GAINS = {1: "gain", -1: "loss", 0: ""}
FIGURES_OF_ONE = ("figure", "without cache", "with cache", "saved", "saved, %")


@dataclass(frozen=True, slots=True)
class Section:
    """What the page says about one of several systems, folded."""

    name: str
    anchor: str
    sentence: str
    calibrated: bool | None
    warnings: list[str]
    notes: list[str]
    rows: list[Row]
    strategies: list[Row]
    images: list[Image]


def render(result: Result, summary: Summary | None = None) -> str:
    """The page as HTML5 text. ``summary`` is ``result.summary()`` where the caller has it already.

    It holds no wall-clock times: the same configuration gives the same bytes.
    """
    summary = result.summary() if summary is None else summary
    result = result.drawn()
    several = len(summary["systems"]) > 1
    seen = looks.of(summary)
    shared, own = notices.sorted_notes(summary)
    headings, table = ranked(summary, seen) if several else (FIGURES_OF_ONE, _of_one(summary))
    measured = result.measured()
    return frame.page(
        "run.html",
        name=summary["name"],
        requests=f"{summary['requests']:,}",
        tokens=units.unbroken(units.tokens(result.input_tokens)),
        seed=summary["seed"],
        answer=units.unbroken(answer(summary)),
        uncalibrated=[name for name, entry in summary["systems"].items() if entry["calibrated"] is False],
        typical=notices.typical(summary),
        about=" ".join(
            filter(
                None,
                (
                    validity.measured(summary),
                    validity.intervals(summary),
                    notices.exact(summary),
                    validity.drawn(summary),
                ),
            )
        ),
        warnings=validity.warnings(summary),
        counted=notices.counted(summary),
        several=several,
        headings=headings,
        rows=table,
        images=[image(picture) for picture in _pictures(result, measured, summary, seen)],
        verdict_headings=side_by_side.VERDICTS,
        verdicts=frame.rows(side_by_side.verdict_rows(summary)),
        shared=shared,
        sections=[_section(name, measured[name], summary, own[name]) for name in seen] if several else [],
        strategies=[] if several else _strategies(summary, next(iter(summary["systems"]))),
        claims=[
            {**claim, "verdict": claim_verdict(claim), "figures": claim_figures(claim)}
            for claim in summary["claims"]
        ],
        definitions=DEFINITIONS,
        configuration=result.config.to_yaml(paths_as_written=True),
    )


def _pictures(result: Result, measured: turns.Runs, summary: Summary, seen: turns.Looks) -> list[Picture]:
    """The figures of a run: those of its one system, or of all together."""
    found = overlay.of_run(result, measured, summary, seen) if len(measured) > 1 else []
    if len(measured) == 1:
        ((name, run),) = measured.items()
        found += figures.of_system(name, run, summary)
        found += turns.of_turns(result, measured, seen)
    found += side_by_side.pictures(summary, seen)
    for picture in (
        over_time.of_run(result, summary, seen),
        figures.of_experiment(measured, seen),
        reuse.of_run(result, measured, summary, seen),
    ):
        found += [] if picture is None else [picture]
    return found


def _of_one(summary: Summary) -> list[Row]:
    return [_line(row) for row in compare(summary, next(iter(summary["systems"])))]


def _line(row: TableRow) -> Row:
    cells = (row.label, row.without, row.with_cache, row.saved, row.saved_share)
    return Row(cells, gains=dict.fromkeys((3, 4), GAINS[row.gain]))


def _section(name: str, run: SystemRun, summary: Summary, notes: list[str]) -> Section:
    drawn = figures.of_system(name, run, summary) if len(summary["systems"]) <= FEW else []
    return Section(
        name=name,
        anchor=f"system-{frame.slug(name)}",
        sentence=units.unbroken(sentence(summary, name)),
        calibrated=run.calibrated,
        warnings=validity.of_system(summary, name),
        notes=notes,
        rows=[_line(row) for row in compare(summary, name)],
        strategies=_strategies(summary, name),
        images=[image(picture) for picture in drawn],
    )


def _strategies(summary: Summary, name: str) -> list[Row]:
    """What every other placement of marks would have cost, the cheapest first."""
    regret = summary["systems"][name].get("regret")
    if regret is None or len(regret["cost_usd_by_strategy"]) < 3:
        return []
    costs = sorted(regret["cost_usd_by_strategy"].items(), key=lambda item: item[1])
    best = costs[0][1]
    return [
        Row(
            (strategy, units.usd(usd), units.percent(usd / best - 1) if best else ""),
            look="first" if strategy == "as configured" else "",
        )
        for strategy, usd in costs
    ]


__all__ = ["image", "render"]
