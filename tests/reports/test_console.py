"""What the terminal shows after a run."""

from __future__ import annotations

import copy
import io
import re
from typing import Any

import pytest
from rich.console import Console

from reports.comparison import table as compared
from reports.console import table
from reports.sentences import sentence
from sim.result import Result
from sim.results.summary import Summary
from tests.reports.conftest import GPU, Build

WIDTH = 100


def shown(summary: Summary, *, details: bool = True) -> str:
    console = Console(width=WIDTH, record=True, file=io.StringIO())
    console.print(table(summary, WIDTH, details=details))
    return console.export_text()


def of_one(summary: Summary, name: str) -> Any:
    """The summary as if the experiment had this system only."""
    out: Any = copy.deepcopy(summary)
    for part in ("systems", "no_cache", "savings"):
        out[part] = {name: out[part][name]}
    out |= {"claims": [], "comparison": None, "intervals": None, "crossovers": []}
    return out


def test_an_engine_has_all_its_rows(everything: Result) -> None:
    text = shown(everything.summary())
    for label in (
        "prompt tokens computed",
        "hit rate, by tokens",
        "requests with a hit",
        "TTFT p50",
        "TTFT p99",
        "TPOT mean",
        "GPU-hours held",
        "GPU-hours busy",
        "dollars, GPU-hours held",
        "dollars, GPU-hours busy",
        "dollars, token prices",
        "evicted blocks",
        "preemptions",
    ):
        assert label in text
    for heading in ("without cache", "with cache", "saved, %"):
        assert heading in text


def test_several_systems_share_one_table(everything: Result) -> None:
    """The answer first, then a line per system, the best first; their own tables only when asked for."""
    summary = everything.summary()
    comparison: Any = summary["comparison"]
    lines = shown(summary, details=False).splitlines()
    assert lines[0].startswith(f"In this run {comparison['rows'][0]['system']} has the ")
    order = [row["system"] for row in comparison["rows"]]
    firsts = [line.strip("│ ").split(" ")[0] for line in lines if line.startswith("│")]
    assert firsts == order
    assert not any("saved, %" in line for line in lines)


def test_a_column_that_shows_no_difference_is_left_out(everything: Result) -> None:
    """GPU-hours that differ from the seventh digit on are the same to who reads them."""
    summary: Any = everything.summary()
    for busy_s, shown_too in (([1800.0, 1800.0001, 1800.0002], False), ([1800.0, 1800.0, 1900.0], True)):
        for entry, seconds in zip(summary["systems"].values(), busy_s * 2, strict=True):
            entry["gpu_busy_seconds"] = seconds
        assert ("GPU-hours busy" in compared(summary)[0]) == shown_too


def test_what_is_missing_is_left_out(everything: Result, one_request: Result) -> None:
    for result in (everything, one_request):
        text = shown(result.summary())
        assert not re.search(r"\b(None|nan|inf)\b", text)
    assert "TPOT" not in shown(one_request.summary())
    assert "dollars" not in shown(one_request.summary())


def test_replays_have_no_times(everything: Result) -> None:
    text = shown(of_one(everything.summary(), "priced-replay"))
    assert text.count("replay without service times: hits only") == 1
    assert not re.search("TTFT|TPOT|GPU-|preemptions", text)
    assert "dollars, token prices" in text


def test_uncalibrated_is_shown(everything: Result) -> None:
    summary = everything.summary()
    titles = [line for line in shown(summary).splitlines() if line.startswith("by-the-hour  ")]
    assert len(titles) == 1 and "uncalibrated" in titles[0]
    summary["systems"]["by-the-hour"]["calibrated"] = True
    title = next(line for line in shown(summary).splitlines() if line.startswith("by-the-hour  "))
    assert title.split() == ["by-the-hour", "calibrated"]


def test_uncalibrated_is_yellow(everything: Result) -> None:
    console = Console(width=WIDTH, record=True, file=io.StringIO())
    console.print(table(everything.summary(), details=True))
    assert re.search(r"\x1b\[1;30;43m uncalibrated", console.export_text(styles=True))


def test_claims_with_source_verdict_and_conditions(everything: Result) -> None:
    summary = everything.summary()
    words = " ".join(shown(summary).split())
    assert "priced-replay: holds" in words
    assert "replay: does not hold" in words
    assert "no-cache: not decided" in words
    for claim in summary["claims"]:
        assert f"source: {claim['source']}" in words
        assert all(condition in words for condition in (c.replace("\n", " ") for c in claim["conditions"]))


def test_hostile_text_is_shown_and_not_obeyed(everything: Result) -> None:
    summary = of_one(everything.summary(), "by-the-hour")
    name = "[bold]x[/bold]\x1b[2J"
    for part in ("systems", "no_cache", "savings"):
        summary[part] = {name: summary[part]["by-the-hour"]}
    summary["systems"][name]["notes"] = ["[link=x]note[/link] [/nothing]"]
    summary["systems"][name]["warnings"] = ["[red]\x1b[2J"]
    text = shown(summary)
    assert "[bold]x[/bold] [2J" in text
    assert "[link=x]note[/link] [/nothing]" in text
    assert "\x1b" not in text


def test_what_changes_the_worth_of_figures_comes_first(everything: Result) -> None:
    summary = of_one(everything.summary(), "by-the-hour")
    notes = ["approximate: a", "estimate: b", "rejected: 3 of 9 requests", "uncalibrated: c"]
    summary["systems"]["by-the-hour"]["notes"] = notes
    text = shown(summary)
    places = [text.index(note) for note in [*notes[2:], *notes[:2]]]
    assert places == sorted(places)


def test_nothing_is_wider_than_the_terminal(everything: Result) -> None:
    summary: Any = everything.summary()
    names = {name: f"{name}-{'x' * 80}" for name in summary["systems"]}
    for part in ("systems", "no_cache", "savings"):
        summary[part] = {names[name]: value for name, value in summary[part].items()}
    for row in summary["comparison"]["rows"]:
        row["system"] = names[row["system"]]
    text = shown(summary)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "…" not in text


@pytest.mark.parametrize("width", [80, 100])
def test_columns_are_whole_or_left_out(everything: Result, width: int) -> None:
    """Large figures and long names: names fold, figures stay whole, and what does not fit is left out."""
    summary = everything.summary()
    for part in ("systems", "no_cache"):
        for entry in summary[part].values():
            entry["cache"]["evicted_blocks"] = 123_456_789
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table(summary, width, details=True))
    text = console.export_text()
    assert "…" not in text and max(map(len, text.splitlines())) <= width
    assert text.count("123,456,789") >= 2 * 2, "engines without and with"


def test_requests_that_did_not_complete_are_told(build: Build) -> None:
    """How many there are, that the rest is counted, and where hits came from."""
    tiers = "[{name: gpu}, {name: host, capacity_blocks: 99, gb_per_s: 20}]"
    late = "{distribution: uniform, low: 0.05, high: 0.3}"
    cache = f"{{kind: tiered, tiers: {tiers}}}"
    result = build(f"  late: {{{GPU}, deadline_s: {late}}}\n  tiers: {{{GPU}, cache: {cache}}}\n")
    text = " ".join(shown(result.summary()).split())
    assert "requests timed out" in text
    assert "- tokens read from gpu" in text and "- tokens read from host" in text
    said = sentence(result.summary(), "late")
    assert re.search(r"only completed requests are counted, \d+ without and \d+ with the cache", said)
    assert "completed" not in sentence(result.summary(), "tiers")


def test_an_engine_that_completes_nothing_is_no_replay(build: Build) -> None:
    """It has no times, but it says what became of the requests."""
    text = shown(build(f"  late: {{{GPU}, deadline_s: 0}}\n").summary())
    assert "requests timed out" in text and "100.0% of the requests get no reply" in text


def many(summary: Summary, count: int) -> Any:
    """The summary as if so many systems had run, each with warnings and notes of its own."""
    out: Any = copy.deepcopy(summary)
    first = out["comparison"]["rows"][0]["system"]
    names = [f"{first}-{number:03}" for number in range(count)]
    for part in ("systems", "no_cache", "savings"):
        out[part] = {name: copy.deepcopy(out[part][first]) for name in names}
    out["intervals"] = None
    for number, name in enumerate(names):
        out["systems"][name]["warnings"] = [f"warning {number} " * 12]
        out["systems"][name]["notes"] = [f"note {number} " * 20]
    row = out["comparison"]["rows"][0]
    rows = [row | {"system": name} for name in names]
    out["comparison"] |= {"rows": rows, "baseline": names[-1], "winner": names[0]}
    return out


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("count", [2, 7, 17, 60])
def test_a_screen_for_any_number_of_systems(everything: Result, count: int, width: int) -> None:
    """At most 40 lines with that of the report: the answer, the best systems and the baseline, what is most
    needed; a line says how much else the report has."""
    summary = many(everything.summary(), count)
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table(summary, width))
    text = console.export_text()
    lines = text.splitlines()
    assert len(lines) <= 39 and max(map(len, lines)) <= width
    names = list(summary["systems"])
    assert lines[0].startswith(f"{names[0]} has the ")
    rows = [line.strip("│ ").split(" ")[0] for line in lines if line.startswith("│")]
    if count <= 17:
        assert rows == names
    else:
        assert rows == [*names[:16], "...", names[-1]] and "... 43 more" in text
    assert any("warning 0" in line for line in lines)
    assert count < 7 or re.search(r"\d+ more notes are in the report", lines[-1])


def test_the_best_strategy_is_named(everything: Result) -> None:
    """Of one provider in its table, of several below theirs."""
    summary: Any = everything.summary()
    hosted = next(name for name, entry in summary["systems"].items() if entry.get("regret"))
    best = summary["systems"][hosted]["regret"]
    best |= {"best_strategy": "explicit, marks window, 1h", "best_cost_usd": 3.0, "regret_usd": 1.0}
    best["regret_ratio"] = 1 / 3
    said = f"{hosted}: the bill would be 25.0% less with explicit, marks window, 1h: $3.00"
    assert said in shown(summary)
    assert "dollars with explicit, marks window, 1h" in shown(of_one(summary, hosted))
