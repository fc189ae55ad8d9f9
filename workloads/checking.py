"""Whether a trace can be served: its numbers count exactly, and every request can happen."""

from __future__ import annotations

from workloads.content import ROOT
from workloads.errors import InputError
from workloads.schema import MOST, MOST_S
from workloads.trace import NONE, Trace


def require_countable(trace: Trace) -> None:
    """InputError if times or lengths are beyond what counts exactly."""
    longest = max(*(at for at in trace.arrival_s if at is not None), *trace.think_s, 0.0, 0.0)
    if longest > MOST_S:
        raise InputError(
            f"workload: times reach {longest:.3g} s; allowed: arrivals and think times up to {MOST_S:.0e} s"
        )
    if not len(trace):
        return
    largest = max(range(len(trace)), key=lambda i: trace.content.end[trace.reply[i]])
    tokens = trace.content.end[trace.reply[largest]]
    if tokens > MOST:
        raise InputError(
            f"{trace.where(largest)}: prompt and reply have {tokens:,} tokens; allowed: up to {MOST:,}"
        )


def check(trace: Trace) -> None:
    """Assert that every request can happen and that replies hang where they belong."""
    content = trace.content
    content.check()
    follows = [0] * len(trace)
    for i in range(len(trace)):
        assert content.end[trace.prompt[i]] > 0 and trace.prompt[i] != ROOT
        assert trace.output_tokens[i] >= 1
        assert trace.prompt[i] in content.path(trace.reply[i])
        assert content.end[trace.reply[i]] == content.end[trace.prompt[i]] + trace.output_tokens[i]
        if trace.follower[i] != NONE:
            assert 0 <= trace.follower[i] < len(trace)
            follows[trace.follower[i]] += 1
    for column in (trace.think_s, trace.session, trace.turn, trace.tenant, trace.priority):
        assert len(column) == len(trace)
    columns = (trace.api_s, trace.models, trace.request_ids, trace.lines, trace.marks, trace.left_after_s)
    for known in columns:
        assert known is None or len(known) == len(trace)
    assert all(at is None or at >= 0 for at in trace.arrival_s) and all(at >= 0 for at in trace.think_s)
    for i, at in enumerate(trace.arrival_s):
        assert follows[i] == (1 if at is None else 0)
    assert all(NONE <= earlier < i for i, earlier in enumerate(trace.continues))
    assert all(content.parent[segment] != ROOT for segment in trace.continuations)
    for segment, held in trace.several.items():
        assert held.tokens == content.end[segment] - content.end[content.parent[segment]]
        assert trace.messages and held.stop - held.first > 1 and segment not in trace.resent_replies
    if trace.named_blocks is not None:
        size = trace.block_id_tokens
        assert size is not None and len(trace.named_blocks) == len(trace)
        for prompt, named in zip(trace.prompt, trace.named_blocks, strict=True):
            assert content.end[prompt] // size <= named <= -(-content.end[prompt] // size)
            assert all(content.end[node] % size == 0 for node in content.path(prompt)[:-1])
