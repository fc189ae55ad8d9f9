"""Several traces as one: their requests by time, their contents side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from workloads.content import ROOT
from workloads.trace import NONE, Trace


class Part(NamedTuple):
    """A trace that becomes a part of another one."""

    trace: Trace
    name: str
    model: str | None = None
    """The model that its requests are sent to, where the trace itself does not say it."""
    priority: int | None = None
    """Of all its requests in place of their own."""


def merged(parts: Sequence[Part], origin: str) -> Trace:
    """One trace of all requests. Parts share no content, no session and no tenant. O(requests + segments).

    Chains of requests that wait for each other stand together, by the time at which the first one comes.
    """
    whole = Trace(origin=origin, messages=all(part.trace.messages for part in parts))
    offsets = [_append_content(whole, part.trace) for part in parts]
    keys = []
    for place, part in enumerate(parts):
        keys += [(at_s, place, i) for i, at_s in enumerate(_chain_starts_s(part.trace))]
    keys.sort()
    index = {(place, i): new for new, (_, place, i) in enumerate(keys)} | {
        (place, NONE): NONE for place in range(len(parts))
    }
    sessions: dict[tuple[int, int], int] = {}
    tenants: dict[tuple[int, int], int] = {}
    for _, place, i in keys:
        part, trace, offset = parts[place], parts[place].trace, offsets[place]
        whole.prompt.append(trace.prompt[i] + offset)
        whole.reply.append(trace.reply[i] + offset)
        whole.output_tokens.append(trace.output_tokens[i])
        whole.arrival_s.append(trace.arrival_s[i])
        whole.follower.append(index[place, trace.follower[i]])
        whole.think_s.append(trace.think_s[i])
        whole.continues.append(index[place, trace.continues[i]])
        whole.session.append(sessions.setdefault((place, trace.session[i]), len(sessions)))
        whole.turn.append(trace.turn[i])
        whole.tenant.append(tenants.setdefault((place, trace.tenant[i]), len(tenants)))
        whole.priority.append(trace.priority[i] if part.priority is None else part.priority)
    _add_models(whole, parts, keys)
    if any(part.trace.api_s is not None for part in parts):
        took = [part.trace.api_s or [None] * len(part.trace) for part in parts]
        whole.api_s = [took[place][i] for _, place, i in keys]
    for place, part in enumerate(parts):
        trace = part.trace
        whole.tool_turns |= {index[place, i] for i in trace.tool_turns}
        whole.parents |= {
            sessions[place, child]: sessions[place, parent] for child, parent in trace.parents.items()
        }
        whole.notes += [f"{part.name}: {note}" for note in trace.notes]
    whole.lengths_only = any(part.trace.lengths_only for part in parts)
    whole.drawn_starts = all(part.trace.drawn_starts for part in parts)
    return whole


def _append_content(whole: Trace, trace: Trace) -> int:
    """Add the segments of ``trace`` below the root; returns by how much their numbers grow."""
    content, offset = whole.content, len(whole.content) - 1
    content.parent.extend(ROOT if above == ROOT else above + offset for above in trace.content.parent[1:])
    content.end.extend(trace.content.end[1:])
    whole.continuations |= {segment + offset for segment in trace.continuations}
    whole.system_messages |= {segment + offset for segment in trace.system_messages}
    whole.resent_replies |= {segment + offset for segment in trace.resent_replies}
    if whole.messages:
        whole.several |= {segment + offset: held for segment, held in trace.several.items()}
    return offset


def _chain_starts_s(trace: Trace) -> list[float]:
    """For each request the time of the request that its chain begins with."""
    found = [0.0] * len(trace)
    for i, at_s in enumerate(trace.arrival_s):
        at = i if at_s is not None else NONE
        while at != NONE:
            found[at] = at_s or 0.0
            at = trace.follower[at]
    return found


def _add_models(whole: Trace, parts: Sequence[Part], keys: list[tuple[float, int, int]]) -> None:
    """Note the model of every request, if every part tells it."""
    named = [[part.model] * len(part.trace) if part.model else part.trace.models for part in parts]
    if all(models is not None for models in named):
        whole.models = [str(models[i]) for _, place, i in keys if (models := named[place]) is not None]
