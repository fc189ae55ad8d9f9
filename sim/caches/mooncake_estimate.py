"""The published hit-ratio curve of the Mooncake trace, and an estimate of it in single tokens.

R. Qin et al., "Mooncake: Trading More Storage for Less Computation", FAST 2025, Figure 9 plots hit
ratio against capacity in tokens for LRU on the conversation trace. The paper counts single tokens, the
released trace has ids of 512 tokens. Two assumptions close the gap: a match ends, on average, in the
middle of the next block; and the system prompt that all requests share has 870 tokens (inferred, not
published). They hold for this trace only.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from workloads.trace import Trace

SYSTEM_PROMPT_TOKENS = 870
PUBLISHED = {
    10_000: 0.0449,
    100_000: 0.0731,
    1_000_000: 0.0866,
    2_000_000: 0.1202,
    4_000_000: 0.2149,
    5_000_000: 0.2471,
    8_000_000: 0.2997,
    10_000_000: 0.3263,
    50_000_000: 0.3983,
    100_000_000: 0.4006,
    500_000_000: 0.4006,
    1_000_000_000: 0.4006,
}
"""Capacity in tokens -> hit ratio: the vertices of Figure 9's LRU line, read from the vector drawing."""
Unit = Literal["block", "token"]
Ids = tuple[int, int]
"""Leading ids of a segment: how many whole ones, and the tokens of a partial last one (0 for none)."""
WITHIN: dict[Unit, float] = {"block": 0.010, "token": 0.007}
"""The estimate lies at most this far below the published ratio, and never above it, ..."""
RESOLVED_FROM_TOKENS = 100_000
"""... from this capacity on: fewer tokens are too few ids of 512 to tell."""


@dataclass(frozen=True, slots=True)
class Vertex:
    """One capacity of Figure 9: the published hit ratio beside the estimated hit tokens."""

    capacity_tokens: int
    published: float
    input_tokens: int
    block: int
    """Estimated hit tokens where every id takes a whole block of the capacity."""
    token: int
    """The same where an id takes the tokens that it has."""

    def ratio(self, unit: Unit) -> float:
        """Estimated hit tokens as a share of all prompt tokens."""
        return (self.block if unit == "block" else self.token) / self.input_tokens

    def agrees(self) -> bool:
        """Whether both estimates lie where they should: just below the published ratio."""
        if self.capacity_tokens < RESOLVED_FROM_TOKENS:
            return True
        return all(0 <= self.published - self.ratio(unit) <= within for unit, within in WITHIN.items())


def figure_9(trace: Trace) -> list[Vertex]:
    """Published against estimated, by capacity; the trace is Mooncake's conversation trace."""
    total = sum(trace.input_tokens)
    return [
        Vertex(capacity, published, total, *(hit_tokens(trace, capacity, unit) for unit in WITHIN))
        for capacity, published in PUBLISHED.items()
    ]


def hit_tokens(trace: Trace, capacity_tokens: int, unit: Unit) -> int:
    """Estimated hit tokens of LRU with the capacity counted in whole blocks, or in tokens.

    Requests hit their leading cached ids, then touch all of theirs from the last to the first; then the
    least recently used ids go until the capacity holds. O(segments + evictions).
    """
    assert trace.named_blocks is not None and trace.block_id_tokens is not None
    size = trace.block_id_tokens
    if unit == "block":
        capacity_tokens = capacity_tokens // size * size
    kept: OrderedDict[int, Ids] = OrderedDict()  # by segment, oldest use first
    occupied = total = 0
    for _, request in trace.instant_order():
        spans = _spans(trace, request, unit)
        total += _estimate(
            _leading(spans, kept),
            trace.named_blocks[request],
            trace.content.end[trace.prompt[request]],
            size,
        )
        for segment, (whole, rest) in reversed(spans):
            had_whole, had_rest = kept.pop(segment, (0, 0))
            occupied += (whole - had_whole) * size + rest - had_rest
            kept[segment] = whole, rest
        while occupied > capacity_tokens:  # the deepest id of the segment used longest ago
            segment, (whole, rest) = kept.popitem(last=False)
            if rest:
                occupied -= rest
            else:
                gone = min(whole, -(-(occupied - capacity_tokens) // size))
                occupied -= gone * size
                whole -= gone
            if whole:
                kept[segment] = whole, 0
                kept.move_to_end(segment, last=False)
    return total


def _spans(trace: Trace, request: int, unit: Unit) -> list[tuple[int, Ids]]:
    """The ids of the request by segment, shallowest first."""
    assert trace.named_blocks is not None and trace.block_id_tokens is not None
    size, content, named = trace.block_id_tokens, trace.content, trace.named_blocks[request]
    prompt = trace.prompt[request]
    lacking = max(0, named * size - content.end[prompt]) if unit == "token" else 0
    spans, begin = [], 0
    for segment in content.path(prompt):
        end = min(-(-content.end[segment] // size), named)
        if end > begin:
            partial = segment == prompt and lacking > 0
            spans.append((segment, (end - begin - 1, size - lacking) if partial else (end - begin, 0)))
        begin = end
    return spans


def _leading(spans: list[tuple[int, Ids]], kept: OrderedDict[int, Ids]) -> int:
    """How many leading ids of the request are cached."""
    hits = 0
    for segment, wanted in spans:
        whole, rest = kept.get(segment, (0, 0))
        hits += whole + (rest > 0)
        if (whole, rest) != wanted:
            break
    return hits


def _estimate(hits: int, named: int, length: int, size: int) -> int:
    """Tokens that a match of ``hits`` of ``named`` leading ids is taken for."""
    if hits == 0:
        return 0
    if hits == 1:
        return min(SYSTEM_PROMPT_TOKENS, length)
    return min(hits * size + (size // 2 if hits < named else 0), length)
