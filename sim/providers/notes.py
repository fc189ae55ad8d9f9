"""What a reader has to know about the figures of a hosted API."""

from __future__ import annotations

from collections.abc import Sequence

from sim.providers.marks import Caching, Marks
from sim.providers.schema import Rules
from workloads.trace import Trace

NEAR = 0.15
"""Prompts less than this share above the minimum are told: token counts differ between tokenizers."""
GIVEN_UP = (
    "assumed: of a call that its client gives up a provider bills the whole input, as read and written, "
    "and the output generated until then; what the call wrote stays readable"
)
GIVEN_UP_BY_DEFAULT = ". Who gives up follows the default line of times: give latency"


def below_minimum(
    trace: Trace, requests: Sequence[int], rules: Rules, caching: Caching, model: str
) -> list[str]:
    """A warning with the number of requests whose marked prefix (or prompt) is too short to be cached."""
    if rules.kind in ("breakpoint", "object"):
        marks = Marks(trace, caching, rules)
        prefixes = [found[0].tokens if (found := marks.of(i)) else 0 for i in requests]
    else:
        inputs = trace.input_tokens
        prefixes = [inputs[i] for i in requests]
    short = sum(0 < tokens < rules.min_tokens for tokens in prefixes)
    near = sum(rules.min_tokens <= tokens < rules.min_tokens * (1 + NEAR) for tokens in prefixes)
    if not short and not near:
        return []
    return [
        f"{short:,} of {len(prefixes):,} requests are under the minimum of {rules.min_tokens:,} tokens for "
        f"{model}: neither written nor read; {near:,} more are less than {NEAR:.0%} above it"
    ]
