"""What a log of prompts shows: where later prompts meet a prompt, and by when its reply was there."""

from __future__ import annotations

import heapq
from array import array
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from workloads.content import ROOT

if TYPE_CHECKING:
    from workloads.trace import Trace

NONE = -1
"""No request, as in `Trace`, which imports this file."""
TAIL_TOKENS = 2
"""Tokens behind the last message of a prompt that the next prompt does not repeat.

Clients end a prompt with a few tokens of the template. Where a log counts them, a prompt whose length is 0
or 1 beyond a whole number of blocks has them in its last whole block, which is then in no other prompt: of
the 710 such pairs of consecutive calls in the kv-cache-tester sessions 693 part there, of the others 2 %.
"""


def anchors(trace: Trace) -> array[int]:
    """For each request the segment at which later prompts can meet it.

    Where the trace names blocks, that is the end of its whole blocks (the rest of a prompt has no name), or
    of all but the last if that holds the prompt's tail: blocks of 64, a prompt of 641 tokens, and no other
    prompt with its tenth block: it is met at 576. O(segments x log).
    """
    size = trace.block_id_tokens
    if size is None:
        return trace.prompt
    end, parent = trace.content.end, trace.content.parent
    prompts = _prompts_through(trace)
    found = array("q")
    for node in trace.prompt:
        rest = end[node] % size
        whole = parent[node] if rest and parent[node] != ROOT else node
        before = parent[whole]
        alone = prompts[whole] == 1 and end[whole] - end[before] == size
        found.append(before if rest < TAIL_TOKENS and alone and before != ROOT else whole)
    return found


def _prompts_through(trace: Trace) -> list[int]:
    """For each segment the number of prompts that contain it."""
    end, parent = trace.content.end, trace.content.parent
    prompts = [0] * len(trace.content)
    for node in trace.prompt:
        prompts[node] += 1
    for node in sorted(range(1, len(prompts)), key=end.__getitem__, reverse=True):
        prompts[parent[node]] += prompts[node]
    return prompts


class Answered(NamedTuple):
    """When replies were there, one entry per request."""

    by_s: list[float]
    """The latest time at which the reply can have been complete; infinity where nothing shows it."""
    told: bytearray
    """1 where the log says how long the call took, so that ``by_s`` is when it ended."""


def answered(trace: Trace) -> Answered | None:
    """What the log shows of the replies; None: it shows nothing of any.

    Three things show it. The log may say how long the call took. A later request of the same session
    whose prompt goes on where this one's ended was sent after the reply: at 0 s a prompt of 98,000 tokens;
    the same with 200 more at 8 s follows its reply, however slow a model of the latency would have been.
    And so was a request of another session (a fork) whose prompt is known to contain the reply.
    Nothing is known of requests whose times are simulated, because they wait for a reply.
    O(requests x log).
    """
    by_s, told = [inf] * len(trace), bytearray(len(trace))
    sessions: dict[int, list[tuple[float, int]]] = {}
    for request, at_s in enumerate(trace.arrival_s):
        if at_s is not None:
            sessions.setdefault(trace.session[request], []).append((at_s, request))
            if trace.api_s is not None and (took_s := trace.api_s[request]) is not None:
                by_s[request], told[request] = at_s + took_s, 1
    forks = [
        (earlier, at_s)
        for earlier, session, at_s in zip(trace.continues, trace.session, trace.arrival_s, strict=True)
        if earlier != NONE and at_s is not None and trace.session[earlier] != session
    ]
    logged = [sent for sent in sessions.values() if len(sent) > 1]
    if not logged and not forks and not any(told):
        return None
    for earlier, at_s in forks:
        if trace.arrival_s[earlier] is not None:
            by_s[earlier] = min(by_s[earlier], at_s)
    for sent in logged:
        sent.sort()
        _by_the_next(trace, sent, by_s)
    return Answered(by_s, told)


def _by_the_next(trace: Trace, sent: list[tuple[float, int]], by_s: list[float]) -> None:
    """Lower ``by_s`` to the time of the first prompt that goes on where a request's own one ended.

    ``sent``: the (time, request) of one session, ascending. A prompt lies on a few chains (`Chains`); those
    that wait to be continued are kept by the chain and the token at which they end.
    """
    end, prompt, anchor, chains = trace.content.end, trace.prompt, trace.anchors, trace.chains
    waiting: dict[int, list[tuple[int, int, int]]] = {}
    for at_s, request in sent:
        route, tokens = chains.route(prompt[request]), end[prompt[request]]
        for chain, reached in zip(route.nodes, route.ends, strict=True):
            shorter = waiting.get(chain)
            # An equal prompt is a repetition, not an answer.
            while shorter and shorter[0][0] <= reached and shorter[0][1] < tokens:
                earlier = heapq.heappop(shorter)[2]
                by_s[earlier] = min(by_s[earlier], at_s)
        place = anchor[request]
        heapq.heappush(
            waiting.setdefault(chains.of[place], []), (end[place], end[prompt[request]], request)
        )
