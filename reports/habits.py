"""The study of client habits for a reader: a table, a page and the numbers as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from reports import files, habit_figures, units
from reports.console import BADGES
from reports.html import Image, environment, image
from sim.habits import SESSIONS, Compared, Figures, Study

FILES = ("config.yaml", "habits.json", "habits.html")
PER = f"per {SESSIONS:,} sessions"
TOKENS = ("hit\nrate", "prompt\ntokens", "tokens\ncomputed", "more\ncomputed", "times the\ngood one")
COSTS = ("TTFT\nmean", "GPU\nbusy", "dollars", "more\ndollars", "busy\ndollars", "dollars\nwithout cache")
"""Headings; a column that no system fills is left out. Amounts are ``PER``."""
NAME_WIDTH = 26
"""So many characters of a habit's name stay on one line."""
TERMINAL_COSTS = 5
"""So many of them fit into a terminal of 80 columns."""
DEFINITIONS = (
    (
        "Twins",
        "The same conversations twice: equal arrivals, turns, think times, and lengths of user messages "
        "and replies. Only the client's habit differs, so every difference comes from it.",
    ),
    ("Amounts", f"Tokens, GPU seconds and dollars are {PER}; TTFT is the mean of all requests."),
    (
        "Hit rate, tokens computed",
        "The share of all prompt tokens that was read from the cache; the others had to be computed.",
    ),
    (
        "More, times the good one",
        "What the bad twin takes beyond the good habit above it, and the ratio of computed tokens.",
    ),
    (
        "Dollars",
        "At token prices: computed, cached and output tokens. By the hour: GPUs held from the first "
        "arrival to the last token, which a habit hardly changes unless fewer GPUs are held. Busy dollars: "
        "the part of them in which the GPUs computed. Without cache: the same prompts with caching off.",
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


def lines(study: Study, system: str) -> list[Line]:
    """Each good habit followed by its bad twins."""
    out: list[Line] = []
    above = None
    for name, compared in study.pairs.items():
        if compared.good_name != above:
            above = compared.good_name
            out.append(_line(above, compared.good[system], None))
        out.append(_line(name, compared.bad[system], compared.good[system]))
    return out


def _line(label: str, own: Figures, good: Figures | None) -> Line:
    more = times = more_usd = ""
    if good is not None:
        more = _signed(own["computed_tokens"] - good["computed_tokens"], units.tokens)
        if good["computed_tokens"]:
            times = f"{units.significant(own['computed_tokens'] / good['computed_tokens'])} x"
        if own["cost_usd"] is not None:
            more_usd = _more_usd(own["cost_usd"], good["cost_usd"])
    tokens = (
        "" if own["hit_rate"] is None else units.percent(own["hit_rate"]),
        units.tokens(own["prompt_tokens"]),
        units.tokens(own["computed_tokens"]),
        more,
        times,
    )
    busy, usd = own["gpu_busy_s"], [own[key] for key in ("cost_usd", "cost_usd_busy")]
    costs = (
        units.times_ms(own["mean_ttft_ms"])[0],
        "" if busy is None else f"{units.significant(busy)} s",
        _usd(usd[0]),
        more_usd,
        _usd(usd[1]),
        _usd(own["cost_usd_without_cache"]),
    )
    return Line(label, good is None, tokens, costs)


def _usd(amount: float | None) -> str:
    return "" if amount is None else units.usd(amount)


def _more_usd(usd: float, good_usd: float) -> str:
    """The difference as exactly as the amounts are shown: in cents from one dollar on."""
    if good_usd < 1:
        return _signed(usd - good_usd, units.usd)
    cents = round(usd - good_usd, 2)
    return _signed(cents, lambda amount: f"{'-' if amount < 0 else ''}${abs(amount):,.2f}")


def _signed(amount: float, text: units.Format) -> str:
    return f"{'+' if amount > 0 else ''}{text(amount)}"


def sentence(study: Study, system: str) -> str:
    """The habit that makes this system compute most, against its good twin."""

    def ratio(compared: Compared) -> float:
        return float(compared.bad[system]["computed_tokens"] / compared.good[system]["computed_tokens"])

    name, worst = max(study.pairs.items(), key=lambda item: ratio(item[1]))
    own, good = worst.bad[system], worst.good[system]
    text = (
        f"Caching fails most under {name}: {units.tokens(own['computed_tokens'])} tokens computed {PER} "
        f"instead of {units.tokens(good['computed_tokens'])} ({worst.good_name})"
    )
    if own["cost_usd"] is not None and own["pricing"] != "gpu_hours":
        text += f", {_usd(own['cost_usd'])} instead of {_usd(good['cost_usd'])}"
    elif own["mean_ttft_ms"] is not None:
        after, before = units.times_ms(own["mean_ttft_ms"], good["mean_ttft_ms"])
        text += f", {after} to the first token on average instead of {before}"
    return text + "."


def table(study: Study) -> RenderableType:
    """What each habit costs, for the terminal: all systems' tokens, then seconds and dollars."""
    rows = {system: lines(study, system) for system in study.config.systems}
    title = f"What client habits cost {PER}: {units.shortened(study.config.name)}"
    parts: list[RenderableType] = [
        _table(title, TOKENS, study, {system: [(x, x.tokens) for x in of] for system, of in rows.items()})
    ]
    costs = {system: [(x, x.costs[:TERMINAL_COSTS]) for x in of] for system, of in rows.items()}
    costs = {system: of for system, of in costs.items() if any(any(cells) for _, cells in of)}
    if costs:
        parts.append(_table(f"Seconds and dollars {PER}", COSTS[:TERMINAL_COSTS], study, costs))
    parts += [Text(f"{name}: {units.printable(sentence(study, name))}") for name in rows]
    return Group(*parts)


def _table(
    title: str, headings: Sequence[str], study: Study, rows: dict[str, list[tuple[Line, tuple[str, ...]]]]
) -> Table:
    out = Table(title=Text(title, "bold"), title_justify="left", pad_edge=False)
    longest = max(len(line.label) + 2 for of_one in rows.values() for line, _ in of_one)
    out.add_column("habit", overflow="fold", min_width=min(longest, NAME_WIDTH))
    filled = [
        i for i in range(len(headings)) if any(cells[i] for of_one in rows.values() for _, cells in of_one)
    ]
    for i in filled:
        out.add_column(headings[i], justify="right")
    for system, of_one in rows.items():
        out.add_section()
        out.add_row(_title(study, system))
        for line, cells in of_one:
            label = Text(("" if line.good else "  ") + units.printable(line.label))
            out.add_row(label, *(cells[i] for i in filled))
    return out


def _title(study: Study, system: str) -> Text:
    title = Text(units.printable(system), "bold")
    calibrated = next(iter(study.pairs.values())).good[system]["calibrated"]
    if calibrated is not None:
        title.append("  ").append_text(BADGES[calibrated])
    return title


def write(study: Study, folder: Path) -> list[Path]:
    """Write config.yaml, habits.json and habits.html into ``folder``, all or none; return their paths."""
    text = json.dumps(study.summary(), indent=2, allow_nan=False) + "\n"
    contents = (study.config.to_yaml(), text, render(study))
    files.put(folder, {name: content.encode() for name, content in zip(FILES, contents, strict=True)})
    return [folder / name for name in FILES]


@dataclass(frozen=True, slots=True)
class Section:
    """What the page says about one system."""

    name: str
    sentence: str
    calibrated: bool | None
    notes: list[str]
    headings: list[str]
    rows: list[tuple[Line, list[str]]]
    images: list[Image]


def render(study: Study) -> str:
    """The page as HTML5 text, self-contained, in the style of a run's report."""
    sections = []
    for system in study.config.systems:
        rows = [(line, [*line.tokens, *line.costs]) for line in lines(study, system)]
        filled = [i for i in range(len(TOKENS + COSTS)) if any(cells[i] for _, cells in rows)]
        own = [figures[system] for both in study.pairs.values() for figures in (both.good, both.bad)]
        sections.append(
            Section(
                name=system,
                sentence=units.unbroken(sentence(study, system)),
                calibrated=own[0]["calibrated"],
                notes=list(dict.fromkeys(note for figures in own for note in figures["notes"])),
                headings=[(TOKENS + COSTS)[i].replace("\n", " ") for i in filled],
                rows=[(line, [cells[i] for i in filled]) for line, cells in rows],
                images=[image(picture) for picture in habit_figures.of_system(study, system)],
            )
        )
    page = resources("reports").joinpath("template.html").read_text("utf-8")
    style = page[page.index("<style>") : page.index("</style>")].removeprefix("<style>")
    template = environment().from_string(resources("reports").joinpath("habits.html").read_text("utf-8"))
    return template.render(
        study=study.summary(),
        style=style,
        per=PER,
        sections=sections,
        uncalibrated=[section.name for section in sections if section.calibrated is False],
        definitions=DEFINITIONS,
        configuration=study.config.to_yaml(paths_as_written=True),
    )
