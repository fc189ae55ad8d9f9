"""What a reader is told before the figures: which requests they are about, and why they may mislead."""

from __future__ import annotations

from reports import notices, units
from sim.results.sample import DRAWN
from sim.results.summary import Summary
from sim.results.summary_system import OwnWindow

HOW = {"found": "found from the run", "given": "as the configuration says"}
INTERVALS = {
    "seeds": "Figures are means of {count} seeds, ± half of their 95 % interval.",
    "parts": "± is half of a 95 % interval, from {count} parts of the measured time, one after another.",
    "bootstrap": "± is half of a 95 % interval, from {count} resamples of the trace's sessions.",
}
"""What ± means, by the kind of repetition."""
SHOWN = 4
"""Systems that are named, and windows that are told where runs have their own; summary.json has all."""
TWIN = " without cache"
"""Behind the name of a system: its twin."""


def drawn(summary: Summary) -> str:
    """That curves and bars are of some sessions only; empty where they are of all."""
    if summary["requests"] <= DRAWN:
        return ""
    return (
        f"The curves and bars below are drawn from the requests of some sessions, about {DRAWN:,} in all, "
        "their counts over time scaled up to all; all other figures are of all requests."
    )


def measured(summary: Summary) -> str:
    """The measured part of the run as a sentence; empty where it is the whole run."""
    window = summary["window"]
    if window["chosen"] == "whole":
        return ""
    share = f"{units.percent(1 - window['outside_ratio'])} of all ({HOW[window['chosen']]})"
    own = {
        name + twin: part[name]["window"]
        for part, twin in ((summary["systems"], ""), (summary["no_cache"], TWIN))
        for name in part
        if "window" in part[name]
    }
    if not own and window["start_s"] <= 0 and window["end_s"] is None:
        return f"Figures are of all requests ({HOW[window['chosen']]})."
    if not own:
        return f"Figures are of the requests that arrive {_from(window)}: {share}."
    shown = [f"{units.printable(name)} {_from(of)}" for name, of in list(own.items())[:SHOWN]]
    more = f" and {len(own) - SHOWN} more" if len(own) > SHOWN else ""
    return (
        f"Figures are of the requests that arrive in a part of each run: {share}. In closed loop sessions "
        f"start as fast as they are served, so each run has its own: {', '.join(shown)}{more}."
    )


def _from(window: OwnWindow) -> str:
    until = "the end" if window["end_s"] is None else f"{window['end_s']:,.0f} s"
    return f"from {window['start_s']:,.0f} s to {until}"


def intervals(summary: Summary) -> str:
    """What the intervals are and come from; empty where there are none."""
    found = summary["intervals"]
    return INTERVALS[found["repetitions"]].format(count=found["count"]) if found else ""


def warnings(summary: Summary) -> list[str]:
    """Every warning, the experiment's own first, then those of each system and of its twin."""
    own = [line[0].upper() + line[1:] for line in summary["warnings"]]
    return [
        *own,
        *(f"{units.printable(name)}{line}" for name in summary["systems"] for line in _told(summary, name)),
    ]


def together(summary: Summary) -> list[str]:
    """The same, what differs in one number told once: "a, b: 27 to 39 requests are few for p99"."""
    sides = (("", summary["systems"]), (TWIN, summary["no_cache"]))
    said = [
        (units.printable(name) + side, text)
        for name in summary["systems"]
        for side, entries in sides
        for text in entries[name]["warnings"]
    ]
    own = [line[0].upper() + line[1:] for line in summary["warnings"]]
    of = len(summary["systems"])
    return own + [f"{_listed(names, of)}: {text}" for text, names in notices.merged(said).items()]


def _listed(names: list[str], of: int) -> str:
    """Who is meant of so many systems: a system and its twin in one."""
    if of > 1 and len(names) == 2 * of:
        return "All systems with and without cache"
    both = {name for name in names if name + TWIN in names}
    said = [
        f"{name} with and without cache" if name in both else name
        for name in names
        if name.removesuffix(TWIN) not in both or name in both
    ]
    more = f" and {len(said) - SHOWN} more" if len(said) > SHOWN else ""
    return ", ".join(said[:SHOWN]) + more


def of_system(summary: Summary, name: str) -> list[str]:
    """The warnings about one system and its twin."""
    lines = [line.removeprefix(": ").lstrip() for line in _told(summary, name)]
    return [line[0].upper() + line[1:] for line in lines]


def _told(summary: Summary, name: str) -> list[str]:
    """The warnings of a system and of its twin, as what follows its name."""
    return [
        *(f": {text}" for text in summary["systems"][name]["warnings"]),
        *(f"{TWIN}: {text}" for text in summary["no_cache"][name]["warnings"]),
    ]
