"""What client habits cost: one chat under each good habit and each bad one, through every system."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import Any

from sim.config import Config
from sim.experiment import SCHEMA_VERSION, Progress, run
from sim.studies.habit_pairs import USUAL, HabitPair, described, pair
from workloads.generators.chat import ChatWorkload
from workloads.habits import Habits

SESSIONS = 1000
"""Amounts are given per so many sessions."""
Figures = dict[str, Any]
"""What one system made of one chat; None where it has no such figure."""
AMOUNTS = {
    "prompt_tokens": "total_input_tokens",
    "computed_tokens": "computed_prompt_tokens",
    "gpu_busy_s": "gpu_busy_seconds",
    "cost_usd": "cost.cost_usd_total",
    "cost_usd_busy": "cost.cost_usd_busy",
}
"""Figures per ``SESSIONS`` sessions and where they stand in a system's entry of a summary."""
DOLLARS = ("cost_usd", "cost_usd_busy")
RATES = {"hit_rate": "cache.prefix_cache_hit_rate", "mean_ttft_ms": "mean_ttft_ms"}
"""Figures per token or request."""


@dataclass(frozen=True, slots=True)
class ComparedPair:
    """A good habit beside a bad one; figures by system."""

    both: HabitPair
    good: dict[str, Figures]
    bad: dict[str, Figures]

    @property
    def good_name(self) -> str:
        """What the good habit is, in short."""
        return described(self.both.good)

    def more(self, system: str) -> dict[str, float | None]:
        """What the bad habit takes more of than the good habit; a lower hit rate is negative."""
        good, bad = self.good[system], self.bad[system]
        return {
            key: None if good[key] is None or bad[key] is None else bad[key] - good[key]
            for key in (*RATES, *AMOUNTS, "written_tokens")
        }


@dataclass(frozen=True, slots=True)
class HabitStudy:
    """All pairs of an experiment, by the name of the bad habit."""

    config: Config
    sessions: int
    requests: int
    pairs: dict[str, ComparedPair]

    def summary(self) -> dict[str, Any]:
        """The content of habits.json; no wall-clock times: same configuration and seed, same content."""
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.config.name,
            "seed": self.config.seed,
            "version": metadata.version("prefixsim"),
            "sessions": self.sessions,
            "requests": self.requests,
            "amounts_per_sessions": SESSIONS,
            "habit_pairs": {name: self._entry(compared) for name, compared in self.pairs.items()},
        }

    def _entry(self, compared: ComparedPair) -> dict[str, Any]:
        return {
            "habits": compared.both.model_dump(mode="json"),
            "good": compared.good,
            "bad": compared.bad,
            "more": {system: compared.more(system) for system in compared.bad},
        }


def study(config: Config, progress: Progress) -> HabitStudy:
    """Run the experiment's chat under each habit of its ``habit_pairs`` (or the usual ones).

    Every trace has the same sessions, arrivals, turns, lengths and think times. A chat that stands in
    several pairs runs once. InputError unless the workload is a chat.
    """
    habit_pairs = config.habit_pairs or USUAL
    chats = {name: pair(config.workload, both, f"habit_pairs.{name}") for name, both in habit_pairs.items()}
    runs: dict[Habits, dict[str, Figures]] = {}
    requests = 0

    def figures(chat: ChatWorkload, label: str) -> dict[str, Figures]:
        nonlocal requests
        if chat.habits not in runs:
            part = config.with_workload(chat)
            summary = run(part, _under(label, progress), strategies=False).summary()
            requests = summary["requests"]
            runs[chat.habits] = {
                system: figures_of(entry, summary["no_cache"][system], chat.sessions)
                for system, entry in summary["systems"].items()
            }
        return runs[chat.habits]

    pairs = {}
    for name, (good, bad) in chats.items():
        both = habit_pairs[name]
        pairs[name] = ComparedPair(both, figures(good, described(both.good)), figures(bad, name))
    return HabitStudy(config, next(iter(chats.values()))[0].sessions, requests, pairs)


def figures_of(entry: dict[str, Any], without: dict[str, Any], sessions: int) -> Figures:
    """The figures of a system from its entry in a summary and that of its twin without a cache."""
    per = SESSIONS / sessions
    amounts = {key: _scaled(_at(entry, path), per) for key, path in AMOUNTS.items()}
    return {
        **{key: _at(entry, path) for key, path in RATES.items()},
        **amounts,
        "written_tokens": _scaled(_written(entry), per),
        **{f"{key}_without_cache": _scaled(_at(without, AMOUNTS[key]), per) for key in DOLLARS},
        "pricing": _at(entry, "cost.pricing"),
        "calibrated": entry["calibrated"],
        "notes": entry["notes"],
    }


def dollars(figures: Figures) -> tuple[float | None, float | None]:
    """The dollars that a habit can change, with the cache and without.

    Of GPUs paid by the hour those of the time in which they compute: what is held stays the same.
    """
    key = "cost_usd_busy" if figures["pricing"] == "gpu_hours" else "cost_usd"
    return figures[key], figures[f"{key}_without_cache"]


def dearer(figures: Figures) -> bool:
    """Whether the bill is higher than that of the same prompts with caching off: writes are not read.

    GPUs by the hour have no such bill; how busy they are depends on more than what they find.
    """
    usd, without = figures["cost_usd"], figures["cost_usd_without_cache"]
    return usd is not None and figures["pricing"] != "gpu_hours" and usd > without


def _written(entry: dict[str, Any]) -> int | None:
    """Tokens written into a provider's cache for a price; None where no provider bills."""
    bill = entry["cost"].get("bill")
    return None if bill is None else sum(bill["cache_write_tokens"].values())


def _at(entry: dict[str, Any], path: str) -> Any:
    section, _, key = path.rpartition(".")
    return (entry[section] if section else entry)[key]


def _scaled(amount: float | None, factor: float) -> float | None:
    return None if amount is None else amount * factor


def _under(label: str, progress: Progress) -> Progress:
    """Progress of one run, its parts named with the habit that it is under."""
    return lambda part, done, total: progress(f"{label}: {part}", done, total)
