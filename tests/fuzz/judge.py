"""What is wrong with what a command said or wrote: unclear messages, figures that cannot be."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from sim.results.records import Records
from workloads.shown import CONTROL

UNCLEAR = re.compile(
    r"<class|<function|Traceback| object at 0x|NoneType|Error\("
    r"|\b(Key|Value|Type|Index|Attribute|Overflow)Error\b"
    r"|NaTType|list index|out of range of|unhashable|has no attribute|not subscriptable|unsupported operand"
    r"|positional argument|keyword argument|invalid literal for|could not convert|cannot convert"
    r"|must be str|expected str\b|maximum recursion|dictionary update|not iterable|set_int_max|codec can"
    r"|np\.|numpy|pydantic"
)
"""What Python says to programmers."""
MOST_LINES = 40
"""Of a message: all that is wrong with a configuration is said at once."""
LONGEST = 1500
"""Characters of a message; lists of what is allowed are long."""
NO_NUMBER = re.compile(r"(?<![\w'\"./-])[-+]?(nan|inf)(?![\w'\"./-])", re.IGNORECASE)
PERCENTILES = ("p50", "p90", "p95", "p99")
NEGATIVE = ("saved", "difference", "regret", "balance")
"""Figures with these in their names, or below them, may be below 0."""


def message(said: str) -> list[str]:
    """What is unclear in what stands on stderr after bad input."""
    wrong = []
    lines = [line for line in said.splitlines() if line.strip()]
    usage = said.startswith("Usage:")
    errors = [line for line in lines if line.startswith("error: ")]
    if not usage and len(errors) != 1:
        wrong.append(f"{len(errors)} lines that begin with 'error: '")
    if errors and len(lines) - lines.index(errors[-1]) > MOST_LINES:
        wrong.append(f"a message of {len(lines)} lines")
    if usage and not any(line.startswith("Error: ") for line in lines):
        wrong.append("a usage without an error")
    if errors and len(errors[-1]) < 20:
        wrong.append("a message of few letters")
    if found := UNCLEAR.search(said):
        wrong.append(f"{found[0]!r} in a message")
    if CONTROL.search(said):
        wrong.append("a control character in a message")
    if any(len(line) > LONGEST for line in lines):
        wrong.append(f"a message of {max(map(len, lines))} characters")
    return wrong


def shown(text: str) -> list[str]:
    """What is wrong in a table or page on stdout after a run that went well."""
    wrong = []
    if found := NO_NUMBER.search(text):
        wrong.append(f"{found[0]!r} on stdout")
    if CONTROL.search(text):
        wrong.append("a control character on stdout")
    return wrong


def written(folder: Path, before: dict[str, bytes]) -> list[str]:
    """What is wrong in the files that a command has written, beside those that were there ``before``."""
    wrong = []
    for path in folder.rglob("*"):
        if str(path.relative_to(folder)) in before:
            continue
        if path.name.startswith((".writing-", ".ready-")):
            wrong.append("a folder of half-written files is left")
        if path.suffix == ".json" and path.name in (
            "summary.json",
            "capacity.json",
            "habits.json",
            "search.json",
        ):
            try:
                data = json.loads(path.read_text("utf-8"), parse_constant=_refuse)
            except ValueError as error:
                wrong.append(f"{path.name}: {error}")
                continue
            wrong += summary(data) if path.name == "summary.json" else finite(data)
    return wrong


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} in JSON")


def finite(data: Any) -> list[str]:
    """Numbers that are none, with their place."""
    return [f"{at} = {value}" for at, value in _numbers(data) if not math.isfinite(value)]


def _numbers(data: Any, at: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _numbers(value, f"{at}.{key}" if at else str(key))
    elif isinstance(data, list | tuple):
        for value in data:
            yield from _numbers(value, f"{at}[]")
    elif isinstance(data, int | float) and not isinstance(data, bool):
        yield at, data


def summary(data: Any) -> list[str]:
    """What cannot be in a summary.json."""
    wrong = finite(data)
    for part in ("systems", "no_cache"):
        for entry in data[part].values():
            wrong += [f"{part}: {said}" for said in _entry(entry, data["window"]["chosen"] == "whole")]
            if part == "no_cache" and entry["cache"]["prefix_cache_hits_tokens"]:
                wrong.append("the twin without a cache has hits")
    for name, saved in data["savings"].items():
        wrong += _savings(saved, data["systems"][name], data["no_cache"][name])
    if data["comparison"] is not None:
        ranked = [row["system"] for row in data["comparison"]["rows"]]
        if sorted(ranked) != sorted(data["systems"]):
            wrong.append("the comparison is not of all systems")
    return wrong


def _entry(entry: dict[str, Any], whole: bool) -> list[str]:
    wrong, cache = [], entry["cache"]
    for key, value in _numbers({key: value for key, value in entry.items() if key != "regret"}):
        if value < 0 and not any(word in key for word in NEGATIVE):
            wrong.append(f"{key} = {value}")
    if entry["failed"] != entry["rejected"] + entry["timed_out"] + entry["aborted"]:
        wrong.append("failed is not the sum of its kinds")
    for kind in ("tokens", "blocks"):
        hits, queries = cache[f"prefix_cache_hits_{kind}"], cache[f"prefix_cache_queries_{kind}"]
        if hits is not None and queries is not None and hits > queries:
            wrong.append(f"{hits} hits of {queries} {kind}")
    for rate in (
        "prefix_cache_hit_rate",
        "prefix_cache_hit_rate_blocks",
        "request_hit_rate",
        "kv_cache_usage_perc",
    ):
        if cache[rate] is not None and not 0 <= cache[rate] <= 1:
            wrong.append(f"{rate} = {cache[rate]}")
    tiers = cache["prefix_cache_hits_tokens_by_tier"]
    if whole and tiers is not None and sum(tiers.values()) != cache["prefix_cache_hits_tokens"]:
        wrong.append("hits by tier are not the hits")
    if entry["computed_prompt_tokens"] > entry["total_input_tokens"]:
        wrong.append("more prompt tokens computed than there are")
    for time in ("ttft", "tpot", "itl", "e2el", "queue_time"):
        values = [entry[f"{p}_{time}_ms"] for p in PERCENTILES]
        known = [value for value in values if value is not None]
        if any(after < before * (1 - 1e-12) for before, after in pairwise(known)):
            wrong.append(f"percentiles of {time} fall: {known}")
        if (entry[f"mean_{time}_ms"] is None) != (len(known) == 0):
            wrong.append(f"{time} has a mean without percentiles, or the reverse")
    return wrong


def _savings(saved: dict[str, Any], entry: dict[str, Any], twin: dict[str, Any]) -> list[str]:
    wrong = []
    for figure, saving in saved.items():
        before, after = (part.get(figure, part["cost"].get(figure)) for part in (twin, entry))
        if (saving["without"], saving["with"]) != (before, after):
            wrong.append(f"savings of {figure} are of other figures")
        if before is None or after is None:
            continue
        if saving["saved"] != before - after:
            wrong.append(f"saved {figure}: {saving['saved']} is not {before} - {after}")
        if before and saving["saved_ratio"] != saving["saved"] / before:
            wrong.append(f"saved_ratio of {figure} is not saved / without")
    return wrong


def records(found: Records, requests: int) -> list[str]:
    """What cannot be in the rows of a run: each request of the trace ends once, after it arrived."""
    wrong = []
    if len(found) != requests:
        wrong.append(f"{len(found)} rows of {requests} requests")
    found.check()
    if bool((found.cache_read_input_tokens > found.input_tokens).any()):
        wrong.append("more tokens read from the cache than a prompt has")
    return wrong
