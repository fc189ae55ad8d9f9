"""Writes a trace in the formats that other tools read: tokens, Mooncake, and the project's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from itertools import accumulate
from pathlib import Path
from typing import IO

from workloads.content import ROOT
from workloads.errors import InputError
from workloads.formats import own
from workloads.trace import NONE, Trace

MOST_TOKENS = 10**9
"""Token ids that a file of tokens may hold: some 7 GB."""
Said = list[str]
"""What a format cannot hold of the trace that was written."""


def tokens(trace: Trace, path: Path, block_size: int | None = None) -> Said:
    """As token ids that stand for nothing but themselves: equal content has equal ids, other has others."""
    total = sum(trace.input_tokens) + sum(trace.output_tokens)
    if total > MOST_TOKENS:
        raise InputError(f"{trace.origin}: {total:,} tokens; allowed as token ids: {MOST_TOKENS:,}")
    content = trace.content
    lengths = [content.end[at] - content.end[content.parent[at]] for at in range(1, len(content))]
    first = [0, *accumulate(lengths, initial=0)]

    def ids(segment: int, above: int) -> list[int]:
        found: list[int] = []
        for at in content.path(segment):
            if content.end[at] > content.end[above]:
                found += range(first[at], first[at + 1])
        return found

    with open(path, "w", encoding="utf-8") as file:
        for at_s, request in trace.instant_order():
            row = {
                "id": _name(trace, request),
                "arrival": at_s,
                "session": trace.session[request],
                "turn": trace.turn[request],
                "priority": trace.priority[request],
                "tokens": ids(trace.prompt[request], ROOT),
                "output_tokens": ids(trace.reply[request], trace.prompt[request]),
            }
            _line(file, row)
    said = _left_out(tenants=len(set(trace.tenant)) > 1, models=trace.models is not None)
    if waits := sum(at is None for at in trace.arrival_s):
        said.append(f"{waits:,} requests that wait for a reply come at the time it would have in no time")
    return said


def mooncake(trace: Trace, path: Path, block_size: int | None = None) -> Said:
    """As block ids of ``block_size`` tokens (by default the trace's own, else 512), times in whole ms.

    Turns have AIPerf's ``session_id``, and those that wait for a reply its ``delay``.
    """
    size = block_size or trace.block_id_tokens or 512
    if trace.block_id_tokens is not None and size % trace.block_id_tokens:
        raise InputError(
            f"--block-size {size}: allowed: a multiple of {trace.block_id_tokens}, the blocks of "
            f"{trace.origin}"
        )
    content, numbers = trace.content, dict[Hashable, int]()
    before = {after: request for request, after in enumerate(trace.follower) if after != NONE}
    inputs, named = trace.input_tokens, trace.named_blocks
    with open(path, "w", encoding="utf-8") as file:
        for at_s, request in trace.instant_order():
            ids, route = [], content.path(trace.prompt[request])
            blocks = -(-inputs[request] // size)
            if named is not None and named[request] * (trace.block_id_tokens or size) < inputs[request]:
                blocks = inputs[request] // size
            place = 0
            for block in range(blocks):
                until = min((block + 1) * size, inputs[request])
                while content.end[route[place]] < until:
                    place += 1
                ids.append(numbers.setdefault((route[place], until), len(numbers)))
            row: dict[str, object] = {"session_id": str(trace.session[request])}
            if request in before:
                row["delay"] = round(trace.think_s[request] * 1000)
            else:
                row["timestamp"] = round(at_s * 1000)
            row |= {"input_length": inputs[request], "output_length": trace.output_tokens[request]}
            _line(file, row | {"hash_ids": ids})
    return [
        "times are rounded to milliseconds",
        "the content of replies is only in the prompts that resend them",
        *_left_out(
            tenants=len(set(trace.tenant)) > 1,
            priorities=any(trace.priority),
            models=trace.models is not None,
        ),
    ]


def parquet(trace: Trace, path: Path, block_size: int | None = None) -> Said:
    """As the project's own file, which holds everything."""
    own.write(trace, path)
    return []


def _left_out(**there: bool) -> Said:
    """What of a trace is ``there`` and has no place in the file."""
    lost = [name for name, is_there in there.items() if is_there]
    return [f"left out: {', '.join(lost)}"] if lost else []


Writer = Callable[[Trace, Path, int | None], Said]
WRITERS: dict[str, Writer] = {"parquet": parquet, "mooncake": mooncake, "tokens": tokens}


def _name(trace: Trace, request: int) -> str:
    return str(request) if trace.request_ids is None else trace.request_ids[request]


def _line(file: IO[str], row: dict[str, object]) -> None:
    file.write(json.dumps(row, separators=(",", ":")) + "\n")
