"""Taking some requests out of a trace that is there as a whole."""

from __future__ import annotations

from array import array
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from workloads.part import Part
from workloads.trace import NONE, Trace


def part_of(trace: Trace, kept: NDArray[np.bool_]) -> Trace:
    """The requests that are ``kept``, in their order, over the same content.

    Whoever waits for a reply must be kept together with that. What a request ``continues`` may be left out.
    """
    numbers = np.flatnonzero(kept)
    places = np.full(len(trace) + 1, NONE)  # the last entry is that of NONE
    places[numbers] = np.arange(len(numbers))
    indices = numbers.tolist()

    def moved(requests: array[int] | list[int]) -> list[int]:
        found: list[int] = places[np.array(requests, dtype=np.int64)[numbers]].tolist()
        return found

    follows = np.array(trace.follower, dtype=np.int64)
    assert (kept[follows[follows != NONE]] == kept[follows != NONE]).all(), "replies are waited for here"
    names, blocks, lines = trace.request_ids, trace.named_blocks, trace.lines
    models, api_s, marks, left = trace.models, trace.api_s, trace.marks, trace.left_after_s
    return replace(
        trace,
        prompt=array("q", [trace.prompt[i] for i in indices]),
        reply=array("q", [trace.reply[i] for i in indices]),
        output_tokens=[trace.output_tokens[i] for i in indices],
        arrival_s=[trace.arrival_s[i] for i in indices],
        follower=array("q", moved(trace.follower)),
        think_s=array("d", [trace.think_s[i] for i in indices]),
        continues=moved(trace.continues),
        session=[trace.session[i] for i in indices],
        turn=[trace.turn[i] for i in indices],
        tenant=[trace.tenant[i] for i in indices],
        priority=[trace.priority[i] for i in indices],
        request_ids=None if names is None else [names[i] for i in indices],
        named_blocks=None if blocks is None else [blocks[i] for i in indices],
        lines=None if lines is None else [lines[i] for i in indices],
        models=None if models is None else [models[i] for i in indices],
        api_s=None if api_s is None else [api_s[i] for i in indices],
        marks=None if marks is None else [marks[i] for i in indices],
        left_after_s=None if left is None else [left[i] for i in indices],
        tool_turns={int(places[i]) for i in trace.tool_turns if kept[i]},
        part=Part(array("q", indices), len(trace), trace.starting, trace.last_start_s),
    )
