"""What client habits cost (docs/habits.md)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from reports import units
from sim import load_config
from sim.studies import habits
from sim.studies.habits import HabitStudy, costs_more, dollars
from tests.docs.examples import ROOT
from tests.docs.made import Cells, Made, Sentences, Table
from tests.docs.makers.first_run import summary

PAGE, COMMAND = "docs/habits.md", "python -m sim habits configs/studies/habits.yaml"
HABITS = {
    "system_prompt: fixed": ("clock-first", "good"),
    "clock-first": ("clock-first", "bad"),
    "clock-last": ("clock-last", "bad"),
    "dynamic_fields: user": ("fields-in-system", "good"),
    "fields-in-system": ("fields-in-system", "bad"),
    "dynamic_fields: user, kept": ("fields-dropped", "good"),
    "fields-dropped": ("fields-dropped", "bad"),
    "history: append": ("window", "good"),
    "window": ("window", "bad"),
    "summarise": ("summarise", "bad"),
    "summarise-always": ("summarise-always", "bad"),
    "edit-first": ("edit-first", "bad"),
    "edit-last": ("edit-last", "bad"),
}
"""The rows of the tables: which side of which pair."""
UNTIL_S = (1, 600, 1200, 1800, 3600)
"""How long prompts are kept warm; the first is too short for any ping."""


@cache
def study() -> HabitStudy:
    """One chat under each habit."""
    return habits.study(load_config(ROOT / "configs/studies/habits.yaml"), lambda *_: None)


def _rows(cells: Callable[[Any], list[str | None]]) -> Cells:
    pairs: Any = study().summary()["habit_pairs"]
    return [[name, *cells(pairs[pair][side])] for name, (pair, side) in HABITS.items()]


def _dollars() -> Cells:
    """Bold where caching off is cheaper."""

    def cell(figures: Any) -> str:
        text = f"{dollars(figures)[0]:.2f}"
        return f"**{text}**" if costs_more(figures) else text

    return _rows(lambda systems: [cell(figures) for figures in systems.values()])


def _hits() -> Cells:
    def cells(systems: Any) -> list[str | None]:
        blocks, own = systems["blocks"], systems["vllm-h200"]
        return [
            units.percent(blocks["hit_rate"]),
            units.tokens(blocks["prompt_tokens"]),
            units.tokens(blocks["computed_tokens"]),
            units.percent(own["hit_rate"]),
            *units.times_ms(own["mean_ttft_ms"]),
            units.count_of(own["gpu_busy_s"]),
        ]

    return _rows(cells)


def _said() -> dict[str, str]:
    return {"sessions": f"{study().sessions:,}"}


def _paused(until_s: int) -> Any:
    return summary("studies/pauses.yaml", f"clients.keep_warm.until_s={until_s}")


def _pauses() -> Cells:
    found = [_paused(until_s)["systems"] for until_s in UNTIL_S]
    return [
        [None, *(f"{one[system]['cost']['cost_usd_total']:,.0f}" for one in found)]
        for system in ("five-minutes", "an-hour")
    ]


def _steady() -> dict[str, str]:
    window = _paused(UNTIL_S[0])["window"]
    return {"hours": f"{(window['end_s'] - window['start_s']) / 3600:.1f}"}


MADE: dict[str, Made] = {
    "habit dollars": Table(PAGE, COMMAND, _dollars, slow=True),
    "habit hits": Table(PAGE, COMMAND, _hits, slow=True),
    "habit sessions": Sentences(
        PAGE,
        COMMAND,
        _said,
        ("Measured are the {sessions} sessions that start in the steady part",),
        slow=True,
    ),
    "pauses": Table(PAGE, "python -m sim sweep configs/studies/pauses.yaml", _pauses, slow=True),
    "pauses' day": Sentences(
        PAGE,
        "python -m sim sweep configs/studies/pauses.yaml",
        _steady,
        ("Dollars of the steady part ({hours} hours) of a day",),
        slow=True,
    ),
}
