"""What client habits cost: one chat under each good habit and each bad one, through every system."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata

from sim.config import Config
from sim.experiment import Progress, run
from sim.result import SCHEMA_VERSION
from sim.results.summary_system import SystemEntry
from sim.studies.habit_pairs import USUAL, HabitPair, described, pair
from sim.studies.outputs import Amounts, HabitFigures, HabitSummary, PairEntry
from workloads.generators.chat import ChatWorkload
from workloads.habits import Habits

SESSIONS = 1000
"""Amounts are given per so many sessions."""


@dataclass(frozen=True, slots=True)
class ComparedPair:
    """A good habit beside a bad one; figures by system."""

    both: HabitPair
    good: dict[str, HabitFigures]
    bad: dict[str, HabitFigures]

    @property
    def good_name(self) -> str:
        """What the good habit is, in short."""
        return described(self.both.good)

    def more(self, system: str) -> Amounts:
        """What the bad habit takes more of than the good habit; a lower hit rate is negative."""
        good, bad = self.good[system], self.bad[system]
        return {
            "hit_rate": _less(bad["hit_rate"], good["hit_rate"]),
            "mean_ttft_ms": _less(bad["mean_ttft_ms"], good["mean_ttft_ms"]),
            "prompt_tokens": bad["prompt_tokens"] - good["prompt_tokens"],
            "computed_tokens": bad["computed_tokens"] - good["computed_tokens"],
            "gpu_busy_s": _less(bad["gpu_busy_s"], good["gpu_busy_s"]),
            "cost_usd": _less(bad["cost_usd"], good["cost_usd"]),
            "cost_usd_busy": _less(bad["cost_usd_busy"], good["cost_usd_busy"]),
            "written_tokens": _less(bad["written_tokens"], good["written_tokens"]),
        }


def _less(amount: float | None, other: float | None) -> float | None:
    """The difference; None where one of the two is."""
    return None if amount is None or other is None else amount - other


@dataclass(frozen=True, slots=True)
class HabitStudy:
    """All pairs of an experiment, by the name of the bad habit."""

    config: Config
    sessions: int
    requests: int
    pairs: dict[str, ComparedPair]

    def summary(self) -> HabitSummary:
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

    def _entry(self, compared: ComparedPair) -> PairEntry:
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
    config.require_one_seed()
    habit_pairs = config.habit_pairs or USUAL
    chats = {name: pair(config.workload, both, f"habit_pairs.{name}") for name, both in habit_pairs.items()}
    runs: dict[Habits, dict[str, HabitFigures]] = {}
    requests = sessions = 0
    measured = config  # all chats are measured in the window that the first one finds

    def figures(chat: ChatWorkload, label: str) -> dict[str, HabitFigures]:
        nonlocal requests, sessions, measured
        if chat.habits not in runs:
            part = measured.with_workload(chat)
            summary = run(part, _under(label, progress), strategies=False).summary()
            requests, sessions = (
                summary["requests"],
                max(e["sessions"] for e in summary["systems"].values()),
            )
            measured = config.with_window(summary["window"])
            runs[chat.habits] = {
                system: figures_of(entry, summary["no_cache"][system])
                for system, entry in summary["systems"].items()
            }
        return runs[chat.habits]

    pairs = {}
    for name, (good, bad) in chats.items():
        both = habit_pairs[name]
        pairs[name] = ComparedPair(both, figures(good, described(both.good)), figures(bad, name))
    return HabitStudy(config, sessions, requests, pairs)


def figures_of(entry: SystemEntry, without: SystemEntry) -> HabitFigures:
    """The figures of a system from its entry in a summary and that of its twin without a cache."""
    per, cost, cost_without = SESSIONS / max(1, entry["sessions"]), entry["cost"], without["cost"]
    return {
        "hit_rate": entry["cache"]["prefix_cache_hit_rate"],
        "mean_ttft_ms": entry["mean_ttft_ms"],
        "prompt_tokens": entry["total_input_tokens"] * per,
        "computed_tokens": entry["computed_prompt_tokens"] * per,
        "gpu_busy_s": _scaled(entry["gpu_busy_seconds"], per),
        "cost_usd": _scaled(cost["cost_usd_total"], per),
        "cost_usd_busy": _scaled(cost["cost_usd_busy"], per),
        "written_tokens": _scaled(_written(entry), per),
        "cost_usd_without_cache": _scaled(cost_without["cost_usd_total"], per),
        "cost_usd_busy_without_cache": _scaled(cost_without["cost_usd_busy"], per),
        "pricing": cost["pricing"],
        "calibrated": entry["calibrated"],
        "notes": entry["notes"],
    }


def dollars(figures: HabitFigures) -> tuple[float | None, float | None]:
    """The dollars that a habit can change, with the cache and without.

    Of GPUs paid by the hour those of the time in which they compute: what is held stays the same.
    """
    if figures["pricing"] == "gpu_hours":
        return figures["cost_usd_busy"], figures["cost_usd_busy_without_cache"]
    return figures["cost_usd"], figures["cost_usd_without_cache"]


def costs_more(figures: HabitFigures) -> bool:
    """Whether the bill is higher than that of the same prompts with caching off: writes are not read.

    GPUs by the hour have no such bill; how busy they are depends on more than what they find.
    """
    usd, without = figures["cost_usd"], figures["cost_usd_without_cache"]
    by_hour = figures["pricing"] == "gpu_hours"
    return usd is not None and without is not None and not by_hour and usd > without


def _written(entry: SystemEntry) -> int | None:
    """Tokens written into a provider's cache for a price; None where no provider bills."""
    bill = entry["cost"].get("bill")
    return None if bill is None else sum(bill["cache_write_tokens"].values())


def _scaled(amount: float | None, factor: float) -> float | None:
    return None if amount is None else amount * factor


def _under(label: str, progress: Progress) -> Progress:
    """Progress of one run, its parts named with the habit that it is under."""
    return lambda part, done, total: progress(f"{label}: {part}", done, total)
