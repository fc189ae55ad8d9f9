"""Recorded calls with what was billed for them, read lane by lane; no text is in them.

One lane (a main thread or one sub-agent) a line, in the form of ``claude_code_compact``: ``id`` and
``requests``. A request has ``t`` (s), ``model``, ``in`` (the marked part of the prompt in tokens), its
blocks of 64 tokens (``hash_runs``), ``ttl`` (the lifetime asked for) and ``billed``: {input, write_5m,
write_1h, read} as the API's own counters have them. ``how`` says what the client did to the prompt, where
the log says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from workloads.errors import InputError
from workloads.formats.jsonl import number, whole
from workloads.formats.reader import rows

BLOCK_TOKENS = 64
TTLS = ("5m", "1h")
Run = tuple[int, int]
"""(first block id, number of consecutive ids)."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The input of one call as billed: neither read nor written, written by lifetime, read."""

    plain: int
    written: tuple[int, int]
    """For five minutes and for an hour."""
    read: int

    @property
    def total(self) -> int:
        """The whole prompt."""
        return self.plain + sum(self.written) + self.read


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a lane."""

    at_s: float
    model: str
    marked: int
    """Tokens up to the last mark."""
    blocks: tuple[Run, ...]
    ttl: int
    """The number of the lifetime asked for, in `TTLS`."""
    how: str
    billed: Tokens


@dataclass(frozen=True, slots=True)
class Lane:
    """The calls of one thread, in order of time."""

    id: str
    calls: list[Call]


def lanes(path: Path) -> Iterator[Lane]:
    """Every lane of the file; InputError names line, call, field and value."""
    for where, _, row in rows(path):
        requests = row.get("requests")
        if not isinstance(requests, list):
            raise InputError(f"{where}: requests = {str(requests)[:60]}; allowed: a list of objects")
        calls = [_call(one, f"{where}, request {i}") for i, one in enumerate(requests, start=1)]
        for i, (before, after) in enumerate(pairwise(calls), start=2):
            if after.at_s < before.at_s:
                raise InputError(
                    f"{where}, request {i}: t = {after.at_s!r}; allowed: at least {before.at_s!r}, that of "
                    "the call before"
                )
        yield Lane(str(row.get("id")), calls)


def _call(row: Any, where: str) -> Call:
    if not isinstance(row, dict):
        raise InputError(f"{where}: {str(row)[:60]!r}; allowed: an object")
    ttl, model, billed = row.get("ttl"), row.get("model"), row.get("billed")
    if ttl not in TTLS:
        raise InputError(f"{where}: ttl = {ttl!r}; allowed: {', '.join(TTLS)}")
    if not isinstance(model, str) or not model:
        raise InputError(f"{where}: model = {model!r}; allowed: the name of a model")
    if not isinstance(billed, dict):
        raise InputError(
            f"{where}: billed = {str(billed)[:60]}; allowed: {{input, write_5m, write_1h, read}}, what the "
            "API billed"
        )
    plain, short, long, read = (
        whole(billed, key, f"{where}, billed", 0) for key in ("input", "write_5m", "write_1h", "read")
    )
    return Call(
        at_s=number(row, "t", where),
        model=model,
        marked=whole(row, "in", where),
        blocks=_blocks(row, where),
        ttl=TTLS.index(ttl),
        how=str(row.get("how", "")),
        billed=Tokens(plain, (short, long), read),
    )


def _blocks(row: dict[str, Any], where: str) -> tuple[Run, ...]:
    value = row.get("hash_runs")
    found: list[Run] = []
    for item in value if isinstance(value, list) else [None]:
        match item:
            case [int(first), int(count)] if first >= 0 and count > 0:
                found.append((first, count))
            case _:
                raise InputError(
                    f"{where}: hash_runs = {str(value)[:60]}; allowed: a list of [first, count], whole "
                    "numbers of at least 0 and 1"
                )
    return tuple(found)


def shared_blocks(one: tuple[Run, ...], other: tuple[Run, ...]) -> int:
    """How many leading blocks two prompts share.

    >>> shared_blocks(((1, 5), (20, 3)), ((1, 5), (20, 2), (90, 4)))
    7
    """
    shared = 0
    mine, theirs = iter(one), iter(other)
    (a, left), (b, rest) = next(mine, (0, 0)), next(theirs, (0, 0))
    while left and rest and a == b:
        common = min(left, rest)
        shared += common
        a, left = (a + common, left - common) if left > common else next(mine, (0, 0))
        b, rest = (b + common, rest - common) if rest > common else next(theirs, (0, 0))
    return shared
