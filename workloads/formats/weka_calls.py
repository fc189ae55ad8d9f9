"""The model calls of one recorded session of a coding agent, and those of its sub-agents.

The format is that of `claude_code_compact.py`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Literal

from workloads.errors import InputError
from workloads.formats.jsonl import Row, number, text, whole
from workloads.formats.weka_blocks import block_runs
from workloads.formats.weka_clock import Span
from workloads.ranges import RangeTree
from workloads.shown import shown

Scope = Literal["local", "global"]
SCOPES = ("local", "global")


@dataclass(slots=True)
class AgentCall:
    """One model call: its place in time and in the content tree."""

    name: str
    at_s: float
    """From the start of the session."""
    prompt: int
    blocks: int
    output_tokens: int
    api_s: float | None
    turn: int
    model: str = ""
    answers_tool: bool = False
    think_s: float = 0.0
    """After the reply to the call before."""
    lane: str = ""
    """Whose calls it is one of: its sub-agent's name, or "" for a main call."""
    waits: bool = False
    """Whether the lane has a call before it."""


@dataclass(slots=True)
class SubAgent:
    """A sub-agent, whose calls still count from its own start."""

    span: Span
    calls: list[AgentCall]


@dataclass(slots=True)
class AgentSession:
    """A line of the file, or a file of its own."""

    id: str
    line: int
    block_size: int
    scoped: bool
    """Whether the file says what its ids are."""
    calls: list[AgentCall]
    agents: list[SubAgent]


def session_of(
    name: str, where: str, line: int, row: Row, tree: RangeTree, asked: Scope | None, *, subagents: bool
) -> AgentSession:
    """The session in ``row``, its prompts put into ``tree``; ``asked``: what ids mean, whatever it says.

    Without ``subagents`` their calls are left out.
    """
    scope = row.get("hash_id_scope")
    if scope not in (*SCOPES, None):
        raise InputError(
            f"{where}: hash_id_scope = {shown(scope)}; allowed: {', '.join(SCOPES)}, or absent"
        )
    namespace: Hashable = 0 if (asked or scope) == "global" else name
    session = AgentSession(name, line, tree.id_tokens, scope is not None, [], [])
    entries = list(requests_of(row, where, "request"))
    own_s = [None if e.get("type") == "subagent" else number(e, "t", here) for here, e in entries]
    after_s = _next(own_s)
    names: set[str] = set()
    main: list[AgentCall] = []
    for place, (here, entry) in enumerate(entries):
        if entry.get("type") != "subagent":
            session.calls.append(_add(main, name, here, entry, tree, namespace))
            continue
        nameless = entry.get("agent_id") is None
        agent = f"agent {place + 1}" if nameless else text(entry, "agent_id", here)
        if agent in names:
            raise InputError(f"{here}: agent_id = {agent!r} for the second time; allowed: once a session")
        names.add(agent)
        if subagents:
            before_s = main[-1].at_s if main else None
            made = _agent(f"{name}/{agent}", here, entry, tree, namespace, before_s, after_s[place])
            session.agents.append(made)
            session.calls += made.calls
    return session


def _next(times: list[float | None]) -> list[float | None]:
    """For each place the first time behind it."""
    after: list[float | None] = []
    latest = None
    for at in reversed(times):
        after.append(latest)
        latest = latest if at is None else at
    after.reverse()
    return after


def _agent(
    name: str,
    where: str,
    entry: Row,
    tree: RangeTree,
    namespace: Hashable,
    before_s: float | None,
    after_s: float | None,
) -> SubAgent:
    """A sub-agent between two calls of its parent."""
    duration_s = None if entry.get("duration_ms") is None else number(entry, "duration_ms", where) / 1000
    span = Span(where, number(entry, "t", where), duration_s, before_s, after_s)
    calls: list[AgentCall] = []
    for here, row in requests_of(entry, where, "call"):
        _add(calls, name, here, row, tree, namespace).lane = name
    return SubAgent(span, calls)


def _add(
    chain: list[AgentCall], name: str, where: str, row: Row, tree: RangeTree, namespace: Hashable
) -> AgentCall:
    """Append the model call ``row`` to those before it in its session or sub-agent, ``name``."""
    if row.get("type") not in ("n", "s"):
        raise InputError(
            f"{where}: type = {shown(row.get('type'))}; allowed: n, s, and subagent at the top level"
        )
    tokens, turn = whole(row, "in", where), len(chain) + 1
    blocks, rest = divmod(tokens, tree.id_tokens)
    prompt = tree.insert(namespace, block_runs(row, where, tokens, tree.id_tokens))
    if rest:
        prompt = tree.content.append(prompt, rest)
    output_tokens = max(1, whole(row, "out", where, 0))
    at_s, api_s = number(row, "t", where), _optional(row, "api_time", where)
    model, inputs = row.get("model"), row.get("input_types")
    call = AgentCall(
        name=f"{name}/{turn}",
        at_s=at_s,
        prompt=prompt,
        blocks=blocks,
        output_tokens=output_tokens,
        api_s=api_s,
        turn=turn,
        model=model if isinstance(model, str) else "",
        answers_tool=isinstance(inputs, list) and "tool_result" in inputs,
    )
    recorded_s = _optional(row, "think_time", where)
    if chain:
        call.think_s = _think_s(where, chain[-1], call, recorded_s)
    call.waits = bool(chain)
    chain.append(call)
    return call


def _think_s(where: str, before: AgentCall, call: AgentCall, recorded_s: float | None) -> float:
    """Seconds from the reply to ``before`` to ``call`` in closed loop; times must not go back."""
    gap_s = call.at_s - before.at_s
    if gap_s < 0:
        raise InputError(
            f"{where}: t = {call.at_s!r}; allowed: at least {before.at_s!r}, that of the call before"
        )
    if before.api_s is None:
        return gap_s
    return max(0.0, gap_s - before.api_s) if recorded_s is None else recorded_s


def _optional(row: Row, key: str, where: str) -> float | None:
    return None if row.get(key) is None else number(row, key, where)


def requests_of(row: Row, where: str, what: str) -> Iterator[tuple[str, Row]]:
    """The objects under ``requests``, each with its place in messages (number in the list, from 1)."""
    value = row.get("requests")
    if not isinstance(value, list):
        raise InputError(f"{where}: requests = {shown(value)}; allowed: a list of objects")
    for i, entry in enumerate(value, start=1):
        here = f"{where}, {what} {i}"
        if not isinstance(entry, dict):
            raise InputError(f"{here}: {shown(entry)}; allowed: an object")
        yield here, entry
