"""The study of client habits for a reader: a page and the numbers as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from reports import files, habit_figures, units
from reports.frame import Part, Row
from reports.frame import study as page
from reports.inline import image
from sim.studies.habits import SESSIONS, ComparedPair, HabitStudy, costs_more, dollars
from sim.studies.outputs import HabitFigures

FILES = ("config.yaml", "habits.json", "habits.html")
PER = f"per {SESSIONS:,} sessions"
TOKENS = (
    "hit rate", "prompt tokens", "tokens computed", "more computed", "times the good one", "tokens written",
)  # fmt: skip
COSTS = ("TTFT mean", "GPU busy", "dollars", "more dollars", "busy dollars", "dollars without cache")
"""Headings; a column that the system does not fill is left out. Amounts are ``PER``."""
COSTS_MORE = "!"
"""Behind dollars that caching off would have saved."""
DEFINITIONS = (
    (
        "Habits compared",
        "The same conversations twice: equal arrivals, turns, think times, and lengths of user messages "
        "and replies. Only the client's habit differs, so every difference comes from it.",
    ),
    ("Amounts", f"Tokens, GPU seconds and dollars are {PER}; TTFT is the mean of all requests."),
    (
        "Hit rate, tokens computed",
        "The share of all prompt tokens that was read from the cache; the others had to be computed.",
    ),
    (
        "Tokens written",
        "Prompt tokens that a provider bills as cache writes, part of the computed ones. A write costs "
        "more than plain input and pays only if it is read, so a bad habit can cost more than caching off.",
    ),
    (
        "More, times the good one",
        "What the bad habit takes beyond the good habit above it, and the ratio of computed tokens.",
    ),
    (
        "Dollars",
        "At token prices: computed, cached and output tokens. By the hour: GPUs held from the first "
        "arrival to the last token, which a habit hardly changes unless fewer GPUs are held. Busy dollars: "
        "the part of them in which the GPUs computed. Without cache: the same prompts with caching off. "
        "Providers: their bill.",
    ),
    (
        "Shorter prompts",
        "A window or a summary sends fewer tokens, so it can cost less than resending everything even "
        "where fewer of them are found. What the model no longer sees, and the request that writes a "
        "summary, are not in these figures.",
    ),
)
"""Terms of the page and what they mean."""


@dataclass(frozen=True, slots=True)
class Line:
    """A habit on a system as text; a cell that does not exist is empty."""

    label: str
    good: bool
    tokens: tuple[str, ...]
    costs: tuple[str, ...]


def lines(study: HabitStudy, system: str) -> list[Line]:
    """Each good habit followed by its bad habits."""
    out: list[Line] = []
    above = None
    for name, compared in study.pairs.items():
        if compared.good_name != above:
            above = compared.good_name
            out.append(_line(above, compared.good[system], None))
        out.append(_line(name, compared.bad[system], compared.good[system]))
    return out


def _line(label: str, own: HabitFigures, good: HabitFigures | None) -> Line:
    more = ratio = extra = ""
    if good is not None:
        more = _signed(own["computed_tokens"] - good["computed_tokens"], units.tokens)
        ratio = times(good, own)
        if own["cost_usd"] is not None and good["cost_usd"] is not None:
            extra = more_usd(own["cost_usd"], good["cost_usd"])
    written = own["written_tokens"]
    tokens = (
        units.rate(own["hit_rate"]),
        units.tokens(own["prompt_tokens"]),
        units.tokens(own["computed_tokens"]),
        more,
        ratio,
        "" if written is None else units.tokens(written),
    )
    busy = own["gpu_busy_s"]
    costs = (
        units.times_ms(own["mean_ttft_ms"])[0],
        "" if busy is None else f"{units.significant(busy)} s",
        usd_text(own["cost_usd"]) + f" {COSTS_MORE}" * costs_more(own),
        extra,
        usd_text(own["cost_usd_busy"]),
        usd_text(own["cost_usd_without_cache"]),
    )
    return Line(label, good is None, tokens, costs)


def times(good: HabitFigures, bad: HabitFigures) -> str:
    """Computed tokens of the bad habit over those of the good one; empty where that computes nothing."""
    if not good["computed_tokens"]:
        return ""
    return f"{units.significant(bad['computed_tokens'] / good['computed_tokens'])} x"


def usd_text(amount: float | None) -> str:
    """Dollars, or empty text."""
    return "" if amount is None else units.usd(amount)


def more_usd(usd: float, good_usd: float) -> str:
    """The difference as exactly as the amounts are shown: in cents from one dollar on."""
    if good_usd < 1:
        return _signed(usd - good_usd, units.usd)
    cents = round(usd - good_usd, 2)
    return _signed(cents, lambda amount: f"{'-' if amount < 0 else ''}${abs(amount):,.2f}")


def _signed(amount: float, text: units.Format) -> str:
    return f"{'+' if amount > 0 else ''}{text(amount)}"


def sentence(study: HabitStudy, system: str) -> str:
    """The habit that makes this system compute most, and under how many caching off would be cheaper."""
    pairs = study.pairs

    def ratio(compared: ComparedPair) -> float:
        bad, good = (figures[system]["computed_tokens"] for figures in (compared.bad, compared.good))
        return float(bad / good) if good else float("inf")

    if not any(figures[system]["hit_rate"] for both in pairs.values() for figures in (both.good, both.bad)):
        return "Nothing is read from a cache under any of these habits."
    name, worst = max(pairs.items(), key=lambda item: ratio(item[1]))
    own, good = worst.bad[system], worst.good[system]
    text = (
        f"Caching fails most under {name}: {units.tokens(own['computed_tokens'])} tokens computed {PER} "
        f"instead of {units.tokens(good['computed_tokens'])} ({worst.good_name})"
    )
    if own["cost_usd"] is not None and own["pricing"] != "gpu_hours":
        text += f", {usd_text(own['cost_usd'])} instead of {usd_text(good['cost_usd'])}"
    elif own["mean_ttft_ms"] is not None:
        after, before = units.times_ms(own["mean_ttft_ms"], good["mean_ttft_ms"])
        text += f", {after} to the first token on average instead of {before}"
    return text + "." + _lost(study, system)


def _lost(study: HabitStudy, system: str) -> str:
    """A sentence on the habits under which caching off is cheaper; none if there are none."""
    lost = {name: figures for name, figures in habits(study, system).items() if costs_more(figures)}
    if not lost:
        return ""

    def share(figures: HabitFigures) -> float:
        usd, without = figures["cost_usd"], figures["cost_usd_without_cache"]
        return usd / without - 1 if usd is not None and without else 0.0

    name = max(lost, key=lambda name: share(lost[name]))
    more = f"{name} (+{units.percent(share(lost[name]))})"
    if len(lost) == 1:
        return f" Costs more than caching off under {more}."
    return f" Costs more than caching off under {len(lost)} habits, most under {more}."


def habits(study: HabitStudy, system: str) -> dict[str, HabitFigures]:
    """Every habit once, the good one above its bad habits, with the figures of ``system``."""
    out: dict[str, HabitFigures] = {}
    for name, compared in study.pairs.items():
        out.setdefault(compared.good_name, compared.good[system])
        out[name] = compared.bad[system]
    return out


def write(study: HabitStudy, folder: Path) -> list[Path]:
    """Write config.yaml, habits.json and habits.html into ``folder``, all or none; return their paths."""
    text = json.dumps(study.summary(), indent=2, allow_nan=False) + "\n"
    contents = (study.config.to_yaml(), text, render(study))
    files.put(folder, {name: content.encode() for name, content in zip(FILES, contents, strict=True)})
    return [folder / name for name in FILES]


def matrix(study: HabitStudy) -> tuple[list[str], list[tuple[Line, list[str]]]]:
    """The systems that have a price, and what every habit costs on each of them."""
    priced = [system for system in study.config.systems if habit_figures.priced(study, system)]
    by_system = {system: habits(study, system) for system in priced}
    rows = []
    for line in lines(study, next(iter(study.config.systems))):
        own = [by_system[system][line.label] for system in priced]
        rows.append((line, [usd_text(dollars(x)[0]) + f" {COSTS_MORE}" * costs_more(x) for x in own]))
    return priced, rows


def render(study: HabitStudy) -> str:
    """The page as HTML5 text, self-contained, in the frame of all pages."""
    systems = list(study.config.systems)
    sections = [_part(study, system) for system in systems]
    priced, rows_of_all = matrix(study)
    summary = study.summary()
    parts = []
    if priced:
        parts.append(
            Part(
                f"Dollars {PER}",
                f"{COSTS_MORE}: more than the same prompts with caching off. For GPUs paid by the hour "
                "only the time in which they compute counts. Each bad habit stands below its good one.",
                [image(habit_figures.overview(study))],
                ["habit", *priced],
                [_row(line, cells) for line, cells in rows_of_all],
                sorts=False,
                table_first=True,
            )
        )
    return page(
        subject="what client habits cost",
        about=(
            f"What bad client habits cost, each beside a good one: {summary['sessions']:,} sessions, "
            f"{summary['requests']:,} requests."
        ),
        name=summary["name"],
        seed=summary["seed"],
        answer=sections[0].fold if len(systems) == 1 else f"{systems[0]}: {sections[0].fold}",
        parts=[*parts, *sections],
        uncalibrated=[part.title for part in sections if part.calibrated is False],
        definitions=DEFINITIONS,
        configuration=study.config.to_yaml(paths_as_written=True),
    )


def _part(study: HabitStudy, system: str) -> Part:
    """What the page says about one system, folded behind its sentence."""
    rows = [(line, [*line.tokens, *line.costs]) for line in lines(study, system)]
    filled = [i for i in range(len(TOKENS + COSTS)) if any(cells[i] for _, cells in rows)]
    own = [figures[system] for both in study.pairs.values() for figures in (both.good, both.bad)]
    return Part(
        system,
        f"Amounts are {PER}.",
        [image(picture) for picture in habit_figures.of_system(study, system)],
        ["habit", *((TOKENS + COSTS)[i] for i in filled)],
        [_row(line, [cells[i] for i in filled]) for line, cells in rows],
        sorts=False,
        table_first=True,
        notes=list(dict.fromkeys(note for figures in own for note in figures["notes"])),
        fold=units.unbroken(sentence(study, system)),
        calibrated=own[0]["calibrated"],
    )


def _row(line: Line, cells: list[str]) -> Row:
    return Row((line.label, *cells), look="group" if line.good else "dim")
