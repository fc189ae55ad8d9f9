"""What the tables and sentences with figures in the pages are made of.

Before such a table stands ``<!-- table: NAME -->``; a maker of that name gives its cells anew, None for
those that a person wrote. A sentence is a template, filled in from the same source.

    python -m tests.docs.tables [NAME ...]

writes the tables into the pages.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from reports import rows, side_by_side, units
from sim import load_config, run
from sim.providers import breakeven
from sim.studies import habits
from sim.studies.habits import costs_more, dollars
from tests.docs.examples import ROOT
from workloads.describing import describe
from workloads.formats.guessed import GuessedTrace
from workloads.formats.mooncake import MooncakeTrace

Cells = list[list[str | None]]
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
"""The rows of the tables of docs/habits.md: which side of which pair."""
SHARED = ROOT.parent / "shared" / "data"
MOONCAKE = SHARED / "mooncake" / "conversation_trace.jsonl"
SESSIONS = SHARED / "claude_code_sessions" / "sessions.jsonl.gz"


class Table(NamedTuple):
    """A table of a page, and what makes it."""

    page: str
    command: str
    """Stands on the page too."""
    cells: Callable[[], Cells]
    needs: Path | None = None


class Sentences(NamedTuple):
    """Sentences of a page, with names of figures in braces."""

    page: str
    command: str
    figures: Callable[[], Mapping[str, str]]
    templates: tuple[str, ...]
    needs: Path | None = None


@cache
def summary(config: str, *settings: str) -> Any:
    """The summary of a shipped configuration."""
    return run(load_config(ROOT / "configs" / config, list(settings))).summary()


@cache
def _habits() -> Any:
    return habits.study(load_config(ROOT / "configs/studies/habits.yaml"), lambda *_: None).summary()


def _of_habits(cells: Callable[[Any], list[str | None]]) -> Cells:
    pairs = _habits()["habit_pairs"]
    return [[name, *cells(pairs[pair][side])] for name, (pair, side) in HABITS.items()]


def _habit_dollars() -> Cells:
    """Bold where caching off is cheaper."""

    def cell(figures: Any) -> str:
        usd = dollars(figures)[0]
        text = f"{usd:.2f}"
        return f"**{text}**" if costs_more(figures) else text

    return _of_habits(lambda systems: [cell(figures) for figures in systems.values()])


def _habit_hits() -> Cells:
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

    return _of_habits(cells)


def _pauses() -> Cells:
    """A run for each limit; the first is too short for any ping."""
    found = [
        summary("studies/pauses.yaml", f"clients.keep_warm.until_s={until_s}")["systems"]
        for until_s in (1, 600, 1200, 1800, 3600)
    ]
    return [
        [None, *(f"{one[system]['cost']['cost_usd_total']:,.0f}" for one in found)]
        for system in ("five-minutes", "an-hour")
    ]


def _claims() -> Cells:
    """Claim and condition are a person's words; what each trace gives is not."""
    both = [summary(f"studies/claims-{name}.yaml")["claims"] for name in ("chat", "book")]

    def cell(claim: Any) -> str:
        share = f"{100 * claim['derived_saved']:.1f} %"
        return f"{share}, holds" if claim["holds"] else share

    return [[None, chat["system"], cell(chat), cell(book), None] for chat, book in zip(*both, strict=True)]


def _both_worlds() -> Cells:
    headings, found = side_by_side.table(summary("studies/both_worlds.yaml", f"workload.path={SESSIONS}"))
    wanted = ("system", "hit rate", "$ per 1,000", "$ per 1 M", "saved", "above the best")
    places = [i for want in wanted for i, heading in enumerate(headings) if heading.startswith(want)]
    return [[row[i] for i in places] for row in found]


def _break_even() -> Cells:
    """Writes of 1.25 and 2 times the input price for five minutes and an hour, reads of a tenth."""
    read = Fraction(1, 10)
    offers = [(Fraction(5, 4), 300.0), (Fraction(2), 3600.0)]

    def percent(share: Fraction) -> str:
        return f"{float(100 * share):.1f} %"

    def span(seconds: float) -> str:
        return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"

    def cells(of: Callable[[Fraction, float], str]) -> list[str | None]:
        return [None, None, *(of(write, seconds) for write, seconds in offers)]

    pays = {2: "2nd", 3: "3rd"}
    longer = percent(breakeven.longer_pays(Fraction(5, 4), Fraction(2), read))
    return [
        cells(lambda write, _: percent(breakeven.share_read(write, read))),
        cells(lambda write, _: f"{float(breakeven.reads_per_write(write, read) or 0):.2f}"),
        cells(lambda write, _: pays[breakeven.request_that_pays(write, read) or 0]),
        cells(lambda write, seconds: span(breakeven.longest_mean_gap_s(write, read, seconds) or 0)),
        cells(lambda write, seconds: span(float(breakeven.keep_warm_s(write, read, 0.8 * seconds)))),
        [None, None, "", longer],
    ]


TABLES = {
    "habit dollars": Table(
        "docs/habits.md", "python -m sim habits configs/studies/habits.yaml", _habit_dollars
    ),
    "habit hits": Table("docs/habits.md", "python -m sim habits configs/studies/habits.yaml", _habit_hits),
    "pauses": Table("docs/habits.md", "python -m sim sweep configs/studies/pauses.yaml", _pauses),
    "claims": Table("docs/claims.md", "configs/studies/claims-chat.yaml", _claims),
    "both worlds": Table("docs/providers.md", "configs/studies/both_worlds.yaml", _both_worlds, SESSIONS),
    "break-even": Table("docs/providers.md", "python -m sim breakeven", _break_even),
}


def _quickstart() -> dict[str, str]:
    found = summary("quickstart.yaml")
    table = {row.label: row for row in rows.compare(found, "vllm-h200")}
    return {
        "requests": f"{found['requests']:,}",
        "inside": units.percent(1 - found["window"]["outside_ratio"]).replace("%", " %"),
        "tokens": table["prompt tokens computed"].saved_share.replace("%", " %"),
        **{
            f"{name}_{side}": text.removesuffix(" ms")
            for name, label in (("p50", "TTFT p50"), ("p99", "TTFT p99"), ("tpot", "TPOT mean"))
            for side, text in (("off", table[label].without), ("on", table[label].with_cache))
        },
    }


def _ten_turns() -> dict[str, str]:
    claims = summary("spec/4-ten-turns.yaml")["claims"]
    time, cost = (f"{100 * claim['derived_saved']:.1f}" for claim in claims)
    return {"time": time, "cost": cost}


def _described() -> dict[str, str]:
    trace = GuessedTrace(kind="trace", format="guess", path=SESSIONS).build(0, ROOT)
    found = describe(trace)
    assert found.ideal_hit_rate is not None
    return {"seen": f"{100 * found.ideal_hit_rate:.2f} %", "p50": f"{found.reuse_s[50]:.0f} s"}


def _profiles() -> dict[str, str]:
    return {"count": str(len(list((ROOT / "sim/hardware/profiles").glob("*.yaml"))))}


def _mooncake() -> dict[str, str]:
    """Segments of the content tree, those of replies left out, and of a prompt's path on average."""
    trace = MooncakeTrace(kind="trace", format="mooncake", path=MOONCAKE, block_size=512).build(0, ROOT)
    content = trace.content
    paths = [len(content.path(prompt)) for prompt in trace.prompt]
    blocks = sum(-(-tokens // 512) for tokens in trace.input_tokens)
    return {
        "blocks": f"{blocks:,}",
        "segments": f"{len(content) - len(trace):,}",
        "each": f"{sum(paths) / len(paths):.1f}",
    }


SENTENCES = {
    "first run": Sentences(
        "README.md",
        "python -m sim run quickstart",
        _quickstart,
        (
            "{requests} chat requests on one H200, of which those that arrive in the steady part of the "
            "run are measured ({inside})",
            "the cache computes {tokens} fewer prompt tokens",
            "the median time to first token falls from {p50_off} to {p50_on} ms",
            "its p99 from {p99_off} to {p99_on} ms, and a token takes {tpot_on} instead of {tpot_off} ms",
        ),
    ),
    "front page": Sentences(
        "docs/index.md",
        "python -m sim run quickstart",
        _quickstart,
        ("two new chats a second on one H200, {requests} requests in all",),
    ),
    "ten turns": Sentences("README.md", "spec/", _ten_turns, ("turns out to be {time} % and {cost} %",)),
    "ten turns, claims": Sentences(
        "docs/claims.md",
        "configs/spec/4-ten-turns.yaml",
        _ten_turns,
        ("ten equal turns save {time} % of the tokens and {cost} % of the input bill",),
    ),
    "profiles": Sentences("README.md", "docs/calibration.md", _profiles, ("({count} profiles ship)",)),
    "profiles, calibration": Sentences(
        "docs/calibration.md", "python -m calibration.shipped", _profiles, ("{count} profiles ship",)
    ),
    "content tree": Sentences(
        "docs/architecture.md",
        "Mooncake conversation trace",
        _mooncake,
        ("({blocks} blocks of 512 tokens) is {segments} segments, {each} per prompt",),
        MOONCAKE,
    ),
    "coding sessions": Sentences(
        "docs/workloads.md",
        "python -m workloads describe ../shared/data/claude_code_sessions/sessions.jsonl.gz",
        _described,
        ("{seen} of the input tokens were seen before, half of them within {p50}",),
        SESSIONS,
    ),
}


def shown(page: str, name: str) -> Cells:
    """The cells of the table behind ``<!-- table: NAME -->``."""
    text = (ROOT / page).read_text("utf-8")
    found = re.search(rf"<!-- table: {name} -->\n+((?:\|.*\n)+)", text)
    assert found is not None, f"{page} has no table {name!r}"
    lines = found[1].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def write(name: str) -> None:
    """Put the cells that are made into the page; read the diff."""
    table = TABLES[name]
    path = ROOT / table.page
    text = path.read_text("utf-8")
    merged = [
        [old if new is None else new for old, new in zip(row, fresh, strict=True)]
        for row, fresh in zip(shown(table.page, name), table.cells(), strict=True)
    ]
    found = re.search(rf"<!-- table: {name} -->\n+(?:\|.*\n){{2}}((?:\|.*\n)+)", text)
    assert found is not None
    lines = "".join("| " + " | ".join(cell or "" for cell in row) + " |\n" for row in merged)
    path.write_text(text[: found.start(1)] + lines.replace("|  |", "| |") + text[found.end(1) :], "utf-8")


if __name__ == "__main__":  # all, or those that are named
    for table_name in sys.argv[1:] or TABLES:
        if (needed := TABLES[table_name].needs) is None or needed.exists():
            write(table_name)
            print(table_name, flush=True)
