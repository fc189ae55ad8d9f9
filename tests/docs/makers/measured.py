"""Times, memory and runs of real engines: what `benchmarks/measured.yaml` says was measured."""

from __future__ import annotations

import re
import statistics
from functools import partial
from typing import Any

import yaml

from reports import units
from tests.docs.examples import ROOT
from tests.docs.made import Cells, Made, Sentences, Table

FILE = ROOT / "benchmarks" / "measured.yaml"
ENTRIES: dict[str, Any] = yaml.load(FILE.read_text("utf-8"), Loader=yaml.BaseLoader)
"""Numbers are text as they are written, so that no digit is lost."""
PERFORMANCE, SCALE, SERVER, CALIBRATION = (
    f"docs/{page}.md" for page in ("performance", "scale", "server", "calibration")
)
TABLES = {
    "speed": PERFORMANCE,
    "groups": PERFORMANCE,
    "scale": PERFORMANCE,
    "synchronous": PERFORMANCE,
    "compiled": PERFORMANCE,
    "rivals": PERFORMANCE,
    "rivals, conversations": PERFORMANCE,
    "parts": SCALE,
    "serving": SERVER,
    "validate": CALIBRATION,
    "validate, other loads": CALIBRATION,
    "calibrated, busy": CALIBRATION,
    "third party": CALIBRATION,
}
SENTENCES: dict[str, tuple[str, tuple[str, ...]]] = {
    "long": (
        PERFORMANCE,
        (
            "2 chats of 2,000 turns in vLLM's engine {vllm} s, in SGLang's {sglang} s, an edited first "
            "message on the block cache {edited} s and {edited_mb} MB",
            "caches of messages and layers (2 x 2,000 turns {message} and {layered} s), tiers ({tiers} "
            "s), ids, policies but lru and ttl (lfu {lfu} s, belady {belady} s), and providers that "
            "match on a grid of tokens ({grid} s)",
            "8 million in 2 x 2,000 turns, {marks} s and {marks_gb} GB under",
        ),
    ),
    "plain LRU": (
        PERFORMANCE,
        (
            "per segment {segment} M accesses/s, per access {access} M, libcachesim's C LRU called from "
            "Python one by one {theirs} M.",
        ),
    ),
    "million": (
        PERFORMANCE,
        (
            "took {alone_s} s and {alone_mb} MB in one process, and {wall_s} s by the clock in two "
            "(`--jobs 2`), of which the first had {first_mb} MB at most and the others {worker_mb} MB",
        ),
    ),
    "own time": (PERFORMANCE, ("A request costs about {us} microseconds",)),
    "compiled million": (
        PERFORMANCE,
        (
            "1,000,000 requests took {mb} MB compiled (",
            ": {trace_mb} MB of that are the trace, {steps_mb} MB the runs of iterations",
        ),
    ),
    "parts, small": (
        SCALE,
        (
            "(`--sessions 20000`) {one} CPU seconds in one process, {first} in the first and {others} "
            "in two others.",
            "draws the sessions of all ({draw_us} µs a request)",
        ),
    ),
    "day": (
        SCALE,
        (
            "has {requests} million requests, by the same reckoning",
            "the small form, took {small} CPU seconds",
        ),
    ),
    "soak": (
        SERVER,
        (
            "were {requests} requests and {tokens} tokens, none failed or left behind; the server's "
            "memory was {half_mib} MiB after half of it and {end_mib} MiB at the end",
        ),
    ),
    "importing": (
        "docs/workloads.md",
        (
            "a transcript of 49,000 calls in {transcript} s, as many OpenAI requests with their "
            "histories (700 MB) in {requests} s, as many calls with lists of block ids in {ids} s, a "
            "folder of transcripts of 1 GB in {folder} s ({rate} MB/s); peaks of {least} to {most} GB",
        ),
    ),
    "doctor": (
        "docs/doctor.md",
        (
            "`: {calls} calls of {sessions} sessions and their sub-agents, {mb} MB of transcripts, "
            "take {plain} s of CPU without what-ifs and {all} s with all",
        ),
    ),
    "calibrated": (
        CALIBRATION,
        (
            "--device cpu` took {took} of wall time on the otherwise idle machine",
            "The effect to be reproduced, TTFT {off} to {on} ms with the cache on",
        ),
    ),
}


def _written(text: str) -> str:
    """Thousands apart, as pages have them."""
    return re.sub(r"(?<![\w.,])\d{4,}(?![\w.])", lambda found: f"{int(found[0]):,}", text)


def _rows(name: str) -> Cells:
    return [[_written(cell) for cell in row] for row in ENTRIES[name]["rows"]]


def _values(name: str) -> dict[str, str]:
    return {key: _written(value) for key, value in ENTRIES[name]["values"].items()}


PARTS = {1: 16, 10: 40, 100: 400, 1000: 4000}
"""Parts of each of the two runs of so many million requests."""
MEASURED_S = {1: float(ENTRIES["parts"]["rows"][1][2]), 10: float(ENTRIES["parts"]["rows"][2][2])}
MEASURED = max(MEASURED_S)
"""CPU seconds of so many million requests, and the most that were run."""
CORES, CORE_HOUR_USD = 64, 0.04
"""That share the work, and what an hour of one costs."""


def _computed_parts() -> Cells:
    """From the largest run: each part draws all requests, the rest of the CPU time grows with them."""

    def cells(millions: int) -> list[str | None]:
        hours = _cpu_h(millions)
        numbers = [f"{PARTS[millions]:,}", units.significant(hours, 2 if millions < 1000 else 3)]
        numbers.append(units.significant(_drawing_h(millions), 1 if hours < 1 else 2 if hours < 100 else 3))
        if millions <= MEASURED:
            return [None, *numbers, "", ""]
        wall_min = 60 * hours / CORES
        wall = f"{units.significant(wall_min, 1)} min" if wall_min < 60 else f"{wall_min / 60:.1f} h"
        return [None, *numbers, wall, units.significant(CORE_HOUR_USD * hours, 1 if hours < 1 else 2)]

    return [cells(millions) for millions in PARTS]


def _cpu_h(millions: float, parts: int | None = None) -> float:
    """CPU hours of so many requests in ``parts`` parts of each run."""
    if millions <= MEASURED and parts is None:
        return MEASURED_S[int(millions)] / 3600
    drawing_h, rest_h = _drawing_h(millions, parts), _cpu_h(MEASURED) - _drawing_h(MEASURED)
    return rest_h * millions / MEASURED + drawing_h


def _said_of_parts() -> dict[str, str]:
    """CPU seconds of the largest run that was measured, how many of them draw, and how runs compare."""
    one, parts, ten = ([float(cell) for cell in row[1:3]] for row in ENTRIES["parts"]["rows"])
    return {
        "parts": str(PARTS[MEASURED]),
        "drawing": f"{3600 * _drawing_h(MEASURED):.0f}",
        "all": f"{ten[1]:,.0f}",
        "faster": f"{one[0] / parts[0]:.2f}",
        "longer": f"{ten[0] / parts[0]:.1f}",
    }


def _hours_of_a_day() -> dict[str, str]:
    """CPU hours of the day of a thousand GPUs."""
    millions = float(ENTRIES["day"]["values"]["requests"])
    return {"hours": units.significant(_cpu_h(millions, round(4 * millions)), 1)}


def _drawing_h(millions: float, parts: int | None = None) -> float:
    """CPU hours in which the parts of both runs draw all requests."""
    drawn_us = float(ENTRIES["parts, small"]["values"]["draw_us"])
    return 2 * (parts or PARTS[int(millions)]) * drawn_us * millions / 3600


def _errors_of_runs() -> dict[str, str]:
    """Of the runs of our own engine: errors of all steps and of the mean E2E, and how far it drifted."""
    rows = ENTRIES["validate"]["rows"]
    steps, e2e = ([float(row[place].split()[0]) for row in rows] for place in (3, 6))
    sizes = [abs(error) for error in e2e]
    drift = max(float(one.strip(" %")) for row in rows for one in row[9].split(","))
    return {
        "least": f"{min(steps):+.1f}",
        "most": f"{max(steps):+.1f} %",
        "median": f"{statistics.median(sizes):.1f} %",
        "largest": f"{max(sizes):.1f} %",
        "drift": f"{drift:.0f} %",
    }


MADE: dict[str, Made] = {
    "parts, computed": Table(SCALE, ENTRIES["parts"]["command"], _computed_parts),
    "parts, said": Sentences(
        SCALE,
        ENTRIES["parts"]["command"],
        _said_of_parts,
        (
            "of 10 million requests in {parts} parts of run and twin that is {drawing} s of {all}. "
            "**Computed**",
            "and there in 1/{faster} of the time.",
            "Ten times the requests take {longer} times as long.",
        ),
    ),
    "day, computed": Sentences(
        SCALE,
        ENTRIES["parts"]["command"],
        _hours_of_a_day,
        ("by the same reckoning about {hours} CPU hour",),
    ),
    "validate, said": Sentences(
        CALIBRATION,
        ENTRIES["validate"]["command"],
        _errors_of_runs,
        (
            "All error is service time, between {least} and {most} in the sum of steps; the median "
            "size of the E2E mean's error is {median}, its largest {largest}.",
            "The sentinels ran up to {drift} slower",
            "The sentinels above moved by up to {drift} within minutes",
        ),
    ),
    **{name: Table(page, ENTRIES[name]["command"], partial(_rows, name)) for name, page in TABLES.items()},
    **{
        name: Sentences(page, ENTRIES[name]["command"], partial(_values, name), templates)
        for name, (page, templates) in SENTENCES.items()
    },
}
