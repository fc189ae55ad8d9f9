"""Iterations as a vLLM server logs them with ``--enable-logging-iteration-details``.

A line counts what a step computed and says how long that took; since vLLM 0.27 also what share of the KV
memory running requests then hold. What single requests had in KV is not in it: it is followed from step to
step, as far as the sums tell.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from calibration.form import Step
from workloads.errors import InputError
from workloads.formats.files import find_file, opened

MARK = "Iteration("
LINE = re.compile(
    r"Iteration\(\d+\): (?P<prefills>\d{1,6}) context requests, (?P<tokens>\d{1,9}) context tokens, "
    r"(?P<decodes>\d{1,6}) generation requests, (?P<generated>\d{1,9}) generation tokens, "
    r"iteration elapsed time: (?P<ms>\d{1,9}\.\d+) ms(?P<dummy> \(dummy\))?"
    r"(?:, GPU KV cache usage: (?P<kv>\d{1,3}\.\d+)%)?(?=[\s,]|$)"
)
"""An iteration; one with longer numbers than any engine has is not taken for one."""
ENGINE = re.compile(r"Engine (\d+): |EngineCore_DP(\d+)")
POOL = re.compile(r"GPU KV cache size: (\d[\d,]{0,14}) tokens")
OPTION = "allowed: the log of a vLLM server that was started with --enable-logging-iteration-details"


@dataclass(frozen=True, slots=True)
class Line:
    """One iteration: its prefills with their new tokens, its decodes, how long it took."""

    prefills: int
    tokens: int
    decodes: int
    t_s: float
    kv_share: float | None
    """Share of the KV memory that running requests hold afterwards."""


@dataclass(slots=True)
class IterationLog:
    """What a log says, engine by engine (data parallel ranks write into one), and what was skipped."""

    path: Path
    engines: dict[str, list[Line]] = field(default_factory=dict)
    pool_tokens: int | None = None
    cut_off: int = 0
    """Lines of iterations that are not whole."""
    empty: int = 0
    """Iterations that computed nothing."""
    speculative: int = 0
    """Iterations in which a decode had several tokens: speculation is not modelled."""

    def __len__(self) -> int:
        return sum(map(len, self.engines.values()))

    @property
    def knows_kv(self) -> bool:
        """Whether every iteration says how much KV is held, and the log how much there is."""
        lines = (line for lines in self.engines.values() for line in lines)
        return self.pool_tokens is not None and all(line.kv_share is not None for line in lines)

    def notes(self) -> list[str]:
        """What was skipped, and what is assumed."""
        found = [
            f"{count:,} {what} skipped"
            for count, what in (
                (self.cut_off, "lines of iterations that are cut off were"),
                (self.empty, "iterations without tokens were"),
                (self.speculative, "iterations with speculative tokens were"),
            )
            if count
        ]
        if not self.knows_kv:
            found.append(
                "KV of requests is not in this log (vLLM 0.27 or later says its use, and at its start the "
                "size of the pool; --kv-tokens gives that): times hold for contexts like those it served"
            )
        return found


def read(path: Path, kv_tokens: int | None = None) -> IterationLog:
    """The iterations of a log; ``kv_tokens`` is the size of its KV memory where the log does not say it.

    InputError if there are none.
    """
    log = IterationLog(find_file(path, Path()), pool_tokens=kv_tokens)
    try:
        with opened(log.path) as file:
            for raw in file:
                _read(log, raw.decode(errors="replace"))
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{log.path}: cannot be read to its end: {error}") from None
    if not len(log):
        skipped = "; ".join(log.notes()[:-1])
        raise InputError(f"{log.path}: no iterations{f' ({skipped})' if skipped else ''}; {OPTION}")
    return log


def _read(log: IterationLog, line: str) -> None:
    if log.pool_tokens is None and (pool := POOL.search(line)):
        log.pool_tokens = int(pool[1].replace(",", ""))
    if MARK not in line:
        return
    found = LINE.search(line)
    if found is None:
        log.cut_off += 1
        return
    prefills, tokens, decodes, generated = (
        int(found[name]) for name in ("prefills", "tokens", "decodes", "generated")
    )
    ms = float(found["ms"])
    if found["dummy"] or not prefills + decodes or not ms:
        log.empty += 1
    elif generated != decodes or tokens < prefills:
        log.speculative += 1
    else:
        engine = ENGINE.search(line)
        name = "" if engine is None else engine[1] or engine[2]
        share = None if found["kv"] is None else float(found["kv"]) / 100
        log.engines.setdefault(name, []).append(Line(prefills, tokens, decodes, ms / 1e3, share))


def steps(lines: list[Line], pool: int | None) -> Iterator[tuple[Step, float]]:
    """One engine's iterations by what their time depends on, and how long each took, s.

    Of the sums that a line gives each request has an equal part. KV is followed: after an iteration without
    prefills all that is held is of decodes; a prefill holds what came on top of that, and what it holds is
    of a decode when it is done. What running requests share is held once, so their KV is a lower bound.
    ``pool`` is the KV memory in tokens; without it requests have none.
    """
    held = decoding = prefilling = 0.0
    before: Line | None = None
    for line in lines:
        if pool is None:
            yield _step(line, 0.0, 0.0), line.t_s
            continue
        if before is not None and before.prefills:
            decoding = _decoding(decoding, prefilling, before, line, held)
        else:
            decoding = held if line.decodes else 0.0
        after = (line.kv_share or 0.0) * pool
        whole = max(after, held + line.tokens + line.decodes)  # its use is noted when what ended is gone
        prefilling = max(float(line.tokens), whole - decoding - line.decodes) if line.prefills else 0.0
        yield _step(line, decoding, prefilling - line.tokens), line.t_s
        held, before = after, line


def _decoding(decoding: float, prefilling: float, before: Line, line: Line, held: float) -> float:
    """KV tokens of the decodes of ``line``, after ``before``, which had prefills too."""
    decoding += before.decodes
    if line.decodes > before.decodes:  # prefills that are done
        decoding += prefilling * min(1.0, (line.decodes - before.decodes) / before.prefills)
    elif before.decodes:
        decoding *= line.decodes / before.decodes
    return min(decoding, held) if line.decodes else 0.0


def _step(line: Line, decoding: float, cached: float) -> Step:
    held, new = _parts(max(cached, 0.0), line.prefills), _parts(line.tokens, line.prefills)
    return Step(tuple(zip(held, new, strict=True)), line.decodes, round(decoding))


def _parts(total: float, count: int) -> list[int]:
    """``total`` in ``count`` whole parts that differ by one at most.

    >>> _parts(11, 3)
    [4, 4, 3]
    """
    if not count:
        return []
    each, more = divmod(round(total), count)
    return [each + 1] * more + [each] * (count - more)
