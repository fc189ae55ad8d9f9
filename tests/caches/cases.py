"""Requests as token lists, drawn at random, and the trace that puts them on one content tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from tests.oracles.naive_vllm import NaiveRequest
from workloads.content import ContentTree
from workloads.trace import Trace

QUICK = settings(derandomize=True)
"""Hypothesis in the default run: the same examples every time."""
THOROUGH = settings(max_examples=3000)
"""Hypothesis in tests marked slow: new examples every time."""

TOKEN = st.integers(0, 1)
"""Two different tokens, so that random prompts share prefixes of every length."""
AT_ONCE = st.just(0)
UNSALTED = st.none()


def trace_of(requests: Sequence[NaiveRequest]) -> Trace:
    """The trace of ``requests``; salts name the first token, so equal content under two salts differs.

    Everything is inserted once to make all cuts, then again to learn where each prompt and each reply
    ends; a reply that others share in part spans several segments.
    """
    trace = Trace()
    wholes = []
    for request in requests:
        prompt = [((request.salt, request.prompt[0]), 1)] + [(t, 1) for t in request.prompt[1:]]
        wholes.append((prompt, prompt + [(t, 1) for t in request.output]))
    for prompt, whole in wholes:
        trace.content.insert(prompt)
        trace.content.insert(whole)
    for request, (prompt, whole) in zip(requests, wholes, strict=True):
        trace.add(
            prompt=trace.content.insert(prompt),
            reply=trace.content.insert(whole),
            output_tokens=len(request.output),
            arrival_s=float(request.arrival),
            priority=request.priority,
        )
    return trace


@st.composite
def request_lists(
    draw: Any,
    fewest: int = 1,
    most: int = 6,
    longest: int = 9,
    arrivals: st.SearchStrategy[int] = AT_ONCE,
    salts: st.SearchStrategy[str | None] = UNSALTED,
) -> list[NaiveRequest]:
    """``fewest`` to ``most`` requests in order of arrival; prompts and replies of up to ``longest`` tokens.

    A request is new, over two tokens that others use too or behind a first token of its own; or it
    sends an earlier prompt again, with the same reply or another one; or its prompt goes on after an
    earlier reply or a part of that, perhaps to be answered with the rest ("ahead").
    """
    tokens = st.lists(TOKEN, min_size=1, max_size=longest)
    hows = st.sampled_from(["shares", "own", "again", "again", "regenerated", "goes on", "ahead"])
    requests: list[NaiveRequest] = []
    times = sorted(draw(st.lists(arrivals, min_size=fewest, max_size=most)))
    for number, arrival in enumerate(times):
        how, prompt, output, salt = draw(hows), draw(tokens), draw(tokens), draw(salts)
        if how == "own":
            prompt = [2 + number, *prompt]
        elif how != "shares" and requests:
            earlier = draw(st.sampled_from(requests))
            kept = draw(st.integers(0, len(earlier.output) - 1))
            salt = earlier.salt
            if how == "goes on":
                prompt = [*earlier.prompt, *earlier.output[: kept + 1], *prompt[:2]]
            elif how == "ahead":
                prompt = [*earlier.prompt, *earlier.output[:kept]]
                output = earlier.output[kept:]
            else:
                prompt = earlier.prompt
                output = earlier.output if how == "again" else output
        requests.append(NaiveRequest(f"r{number}", prompt, output, salt, arrival=arrival))
    return requests


def blocks_of(requests: Sequence[NaiveRequest], block_size: int) -> int:
    """Blocks that the largest of ``requests`` needs; its last token has no KV."""
    return max(-(-(len(r.prompt) + len(r.output) - 1) // block_size) for r in requests)


def tree_of(*prompts: str) -> tuple[ContentTree, list[int]]:
    """A tree of prompts written as one letter per token, and the segment at which each ends."""
    tree = ContentTree()
    units = [[(letter, 1) for letter in prompt] for prompt in prompts]
    for prompt in units:
        tree.insert(prompt)
    return tree, [tree.insert(prompt) for prompt in units]
