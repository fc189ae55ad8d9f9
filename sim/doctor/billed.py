"""Recorded calls with what was billed for them, read lane by lane; no text is in them.

One lane (a main thread or one sub-agent) a line, in the form of ``claude_code_compact``: ``id`` and
``requests``. A request has ``t`` (s), ``model``, ``in`` (the marked part of the prompt in tokens), its
blocks of 64 tokens (``hash_runs``), ``ttl`` (the lifetime asked for) and ``billed``: {input, write_5m,
write_1h, read} as the API's own counters have them. ``how`` says what the client did to the prompt,
``after`` what the call answers (``user`` or anything else), ``api_time`` (s) how long it took, where the
log says so. A lane may name its ``client``, ``session``, ``project`` and ``month``, and whether it is an
``agent``'s.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from sim.doctor.calls import FEBRUARY, Call, Lane, Prompts, Tokens, turn_of
from workloads.errors import InputError
from workloads.formats.jsonl import Row, number, whole
from workloads.formats.reader import Reader
from workloads.formats.weka_blocks import block_runs
from workloads.formats.weka_calls import requests_of
from workloads.ranges import Run
from workloads.shown import shown

BLOCK_TOKENS = 64
TTLS = ("5m", "1h")


def recognises(row: Row) -> bool:
    """Whether a row of a file has calls with what was billed, or is meant to have."""
    requests = row.get("requests")
    if not isinstance(requests, list):
        return "requests" in row
    return not requests or any(isinstance(one, dict) and "billed" in one for one in requests)


def lanes(path: Path, skip: int = 0) -> list[Lane]:
    """Every lane of the file, or of the files of a folder; InputError names line, call, field and value."""
    prompts = Prompts(BLOCK_TOKENS)
    reader = Reader(path, Path(), skip)
    return [lane for lane in reader.each(lambda where, _, row: _lane(where, row, prompts)) if lane.calls]


def _lane(where: str, row: Row, prompts: Prompts) -> Lane:
    name = str(row.get("id"))
    calls: list[Call] = []
    before: tuple[Run, ...] = ()
    for here, one in requests_of(row, where, "request"):
        call, before = _call(one, here, f"{where} {name}", calls, before, prompts)
        call.client = str(one.get("version") or row.get("client") or "")
        calls.append(call)
    for i, (earlier, later) in enumerate(pairwise(calls), start=2):
        if later.at_s < earlier.at_s:
            raise InputError(
                f"{where}, request {i}: t = {later.at_s!r}; allowed: at least {earlier.at_s!r}, that of "
                "the call before"
            )
    month = _month(row.get("month"))
    return Lane(
        id=name,
        calls=calls,
        session=str(row.get("session") or name),
        project=str(row.get("project") or ""),
        agent=bool(row.get("agent")),
        start=FEBRUARY if month is None else month,
        month="" if month is None else f"{month:%Y-%m}",
        prompts=prompts,
    )


def _month(value: Any) -> datetime | None:
    """The first day of the month that a lane names; None where it names none."""
    try:
        return datetime.strptime(str(value), "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        return None


def _call(
    row: Row, where: str, lane: str, earlier: list[Call], before: tuple[Run, ...], prompts: Prompts
) -> tuple[Call, tuple[Run, ...]]:
    """A call with its blocks; ``before`` are the blocks of the last of the ``earlier`` calls."""
    ttl, model, billed = row.get("ttl"), row.get("model"), row.get("billed")
    if ttl not in TTLS:
        raise InputError(f"{where}: ttl = {shown(ttl)}; allowed: {', '.join(TTLS)}")
    if not isinstance(model, str) or not model:
        raise InputError(f"{where}: model = {shown(model)}; allowed: the name of a model")
    if not isinstance(billed, dict):
        raise InputError(
            f"{where}: billed = {shown(billed)}; allowed: {{input, write_5m, write_1h, read}}, what the "
            "API billed"
        )
    plain, short, long, read = (
        whole(billed, key, f"{where}, billed", 0) for key in ("input", "write_5m", "write_1h", "read")
    )
    at_s, marked = number(row, "t", where), whole(row, "in", where)
    runs = tuple(block_runs(row, where, marked, BLOCK_TOKENS))
    last = earlier[-1] if earlier else None
    prompt = prompts.add(lane, runs) if last is None else prompts.add(lane, runs, before, last.prompt)
    call = Call(
        at_s=at_s,
        model=model,
        marked=marked,
        prompt=prompts.at(lane, runs, prompt, marked // BLOCK_TOKENS),
        read_at=prompts.at(lane, runs, prompt, read // BLOCK_TOKENS),
        ttl=TTLS.index(ttl),
        billed=Tokens(plain, (short, long), read),
        how=str(row.get("how", "")),
        output_tokens=whole(row, "out", where, 0) if "out" in row else 0,
    )
    if row.get("api_time") is not None:
        call.ended_s = at_s + number(row, "api_time", where)
    after = row.get("after")
    call.turn = turn_of(last, at_s) if after is None else "user" if after == "user" else "tool"
    return call, runs
