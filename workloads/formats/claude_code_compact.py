"""Sessions of a coding agent (Claude Code): times, lengths and block ids of every model call, no text.

Source of the format: the traces of github.com/callanjfox/kv-cache-tester (WEKA), in the compact form
that joins them into one JSON Lines file and writes ``hash_ids`` as ``hash_runs``; both are read. One
session a line: ``id``, ``block_size`` (64 tokens), ``hash_id_scope``, ``requests``. A request is a model
call (``t`` in s from the session's start, ``in`` and ``out`` in tokens, block ids, ``api_time`` and
``think_time`` in s) or a sub-agent, which has model calls of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import PositiveInt, model_validator

from workloads.arrivals import Arrivals, ClosedLoop
from workloads.errors import InputError
from workloads.formats.files import find_file
from workloads.formats.jsonl import integers, number, rows, whole
from workloads.ranges import RangeTree, Run
from workloads.schema import Schema
from workloads.seeds import stream
from workloads.trace import NONE, Trace

BLOCK_TOKENS = 64
SCOPES = ("local", "global")
Row = dict[str, Any]


@dataclass(slots=True)
class _Call:
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
    main: bool = False


@dataclass(slots=True)
class _Session:
    id: str
    line: int
    calls: list[_Call]


class ClaudeCodeTrace(Schema):
    """A file of recorded sessions; every model call is a request.

    Sessions are numbered in the order of their ids and share nothing (unless the file says that ids are
    ``global``); a session's sub-agents use its numbering. Requests are sorted by (time, session, place
    in the session). A prompt names its whole blocks; the rest of it, and the reply, are shared with
    nobody, so hits are a lower bound. A reply of 0 tokens (not captured) counts as 1.

    ``turn`` is the number of a main call within its session, or of a sub-agent's call within the
    sub-agent, from 1. Names are ``trace_0001/17`` and ``trace_0001/agent_001/3``.

    ``loop: open`` keeps the recorded times. In a sub-agent's entry ``t`` is when it *finished* and its
    calls count from its own start, so a call happens at entry.t - duration_ms / 1000 + call.t.

    ``loop: closed`` chains the main calls of a session: the first comes at its ``t``, each next one a
    think time after the reply to the one before. Recorded ``think_time`` counts from the end of the
    last call *that has an ``api_time``*, so it is used only where that is the call before; elsewhere it
    spans several calls, and the difference of ``t`` stands in (it contains the unknown service time).
    An absent ``think_time`` after a call with ``api_time`` is computed by its definition, and a think
    time across a sub-agent contains the wait for it. Sub-agents' calls keep their recorded times: nothing
    tells which reply they wait for.

    All sessions start at time 0 on their own clocks, or as ``arrival`` says; its ``closed_loop`` needs
    calls that wait for each other (``loop: closed, subagents: exclude``).
    """

    kind: Literal["trace"]
    format: Literal["claude_code_compact"]
    path: Path
    subagents: Literal["include", "exclude"] = "include"
    sessions: PositiveInt | None = None
    """Only so many, by file order."""
    loop: Literal["open", "closed"] = "open"
    arrival: Arrivals | None = None

    @model_validator(mode="after")
    def _sessions_that_end(self) -> ClaudeCodeTrace:
        chained = self.loop == "closed" and self.subagents == "exclude"
        if isinstance(self.arrival, ClosedLoop) and not chained:
            raise ValueError("arrival: closed_loop needs loop: closed and subagents: exclude")
        return self

    def build(self, seed: int, folder: Path) -> Trace:
        """Read the file, relative to ``folder`` (that of the configuration) or the current one."""
        path = find_file(self.path, folder)
        names: list[str] = []
        lines: list[int] = []
        blocks: list[int] = []
        models: list[str] = []
        api_s: list[float | None] = []
        trace = Trace(
            named_blocks=blocks,
            block_id_tokens=BLOCK_TOKENS,
            origin=path.name,
            lines=lines,
            request_ids=names,
            api_s=api_s,
        )
        sessions = self._sessions(path, RangeTree(trace.content, BLOCK_TOKENS))
        starts = [0.0] * len(sessions)
        if self.arrival is not None:
            starts = self.arrival.times_s(stream(seed, "arrival"), len(sessions)).tolist()
        order = sorted(
            (starts[s] + call.at_s, s, i)
            for s, session in enumerate(sessions)
            for i, call in enumerate(session.calls)
        )
        latest = [NONE] * len(sessions)
        for at_s, s, i in order:
            call = sessions[s].calls[i]
            follows = latest[s] if call.main and self.loop == "closed" else NONE
            request = trace.add(
                prompt=call.prompt,
                output_tokens=call.output_tokens,
                arrival_s=at_s if follows == NONE else None,
                follows=follows,
                think_s=0.0 if follows == NONE else call.think_s,
                session=s,
                turn=call.turn,
            )
            if call.main:
                latest[s] = request
            blocks.append(call.blocks)
            lines.append(sessions[s].line)
            names.append(call.name)
            models.append(call.model)
            api_s.append(call.api_s)
            if call.answers_tool:
                trace.tool_turns.add(request)
        if all(models):
            trace.models = models
        if self.arrival is not None:
            self.arrival.apply(trace)
        return trace

    def _sessions(self, path: Path, tree: RangeTree) -> list[_Session]:
        """The sessions in the order of their ids, their prompts in the tree."""
        found: dict[str, _Session] = {}
        for where, line, row in rows(path):
            session = _session(where, line, row, tree, self.subagents == "include")
            if session.id in found:
                raise InputError(
                    f"{where}: id = {session.id!r}, as in line {found[session.id].line}; allowed: once"
                )
            found[session.id] = session
            if len(found) == self.sessions:
                break
        if self.sessions is not None and len(found) < self.sessions:
            raise InputError(
                f"{path}: sessions = {self.sessions}; allowed: at most {len(found)}, all it has"
            )
        if not any(session.calls for session in found.values()):
            raise InputError(f"{path}: no requests; allowed: one session with its requests a line")
        return [found[key] for key in sorted(found)]


def _session(where: str, line: int, row: Row, tree: RangeTree, subagents: bool) -> _Session:
    name = _text(row, "id", where)
    where = f"{where}: session {name}"
    if row.get("block_size") != BLOCK_TOKENS:
        raise InputError(f"{where}: block_size = {row.get('block_size')!r}; allowed: {BLOCK_TOKENS}")
    scope = row.get("hash_id_scope")
    if scope not in SCOPES:
        raise InputError(f"{where}: hash_id_scope = {scope!r}; allowed: {', '.join(SCOPES)}")
    namespace = line if scope == "local" else 0
    session = _Session(name, line, [])
    agents: set[str] = set()
    main: list[_Call] = []
    for here, entry in _entries(row, where, "request"):
        if entry.get("type") == "subagent":
            agent = _text(entry, "agent_id", here)
            if agent in agents:
                raise InputError(
                    f"{here}: agent_id = {agent!r} for the second time; allowed: once a session"
                )
            agents.add(agent)
            if subagents:
                session.calls += _subagent(f"{name}/{agent}", here, entry, tree, namespace)
            continue
        session.calls.append(_add(main, name, here, entry, tree, namespace))
        main[-1].main = True
    return session


def _subagent(name: str, where: str, entry: Row, tree: RangeTree, namespace: int) -> list[_Call]:
    """The calls of a sub-agent on the clock of its session."""
    ended_s, duration_s = number(entry, "t", where), number(entry, "duration_ms", where) / 1000
    if duration_s > ended_s:
        raise InputError(
            f"{where}: duration_ms = {entry['duration_ms']!r}; allowed: at most its end "
            f"(t = {ended_s!r} s), so that it starts after its session"
        )
    calls: list[_Call] = []
    for here, row in _entries(entry, where, "call"):
        _add(calls, name, here, row, tree, namespace)
    for call in calls:
        call.at_s += ended_s - duration_s
    return calls


def _add(chain: list[_Call], name: str, where: str, row: Row, tree: RangeTree, namespace: int) -> _Call:
    """Append the model call ``row`` to those before it in its session or sub-agent, ``name``."""
    if row.get("type") not in ("n", "s"):
        raise InputError(
            f"{where}: type = {row.get('type')!r}; allowed: n, s, and subagent at the top level"
        )
    tokens, turn = whole(row, "in", where), len(chain) + 1
    blocks, rest = divmod(tokens, BLOCK_TOKENS)
    prompt = tree.insert(namespace, _runs(row, where, tokens))
    if rest:
        prompt = tree.content.append(prompt, rest)
    output_tokens = max(1, whole(row, "out", where, 0))
    at_s, api_s = number(row, "t", where), _optional(row, "api_time", where)
    model, inputs = row.get("model"), row.get("input_types")
    call = _Call(
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
    chain.append(call)
    return call


def _think_s(where: str, before: _Call, call: _Call, recorded_s: float | None) -> float:
    """Seconds from the reply to ``before`` to ``call``, by the class's rule; times must not go back."""
    gap_s = call.at_s - before.at_s
    if gap_s < 0:
        raise InputError(
            f"{where}: t = {call.at_s!r}; allowed: at least {before.at_s!r}, that of the call before"
        )
    if before.api_s is None:
        return gap_s
    return max(0.0, gap_s - before.api_s) if recorded_s is None else recorded_s


def _runs(row: Row, where: str, tokens: int) -> list[Run]:
    """The ids of the whole blocks; the id of a partial last block, which some files keep, is cut off."""
    key = "hash_ids" if "hash_ids" in row else "hash_runs"
    if "hash_ids" in row and "hash_runs" in row:
        raise InputError(f"{where}: hash_ids and hash_runs; allowed: one of the two")
    runs = _from_ids(row, where) if key == "hash_ids" else _from_runs(row, where)
    named = sum(count for _, count in runs)
    least, most = tokens // BLOCK_TOKENS, -(-tokens // BLOCK_TOKENS)
    if not least <= named <= most:
        raise InputError(
            f"{where}: {key} has {named} ids for in = {tokens}; allowed: {least} to {most} "
            f"({BLOCK_TOKENS} tokens each)"
        )
    if named > least:
        first, count = runs.pop()
        if count > 1:
            runs.append((first, count - 1))
    return runs


def _from_runs(row: Row, where: str) -> list[Run]:
    value = row.get("hash_runs")
    if not isinstance(value, list):
        raise InputError(f"{where}: hash_runs = {str(value)[:60]}; allowed: a list of [first, count]")
    runs = []
    for item in value:
        match item:
            case [first, count] if type(first) is int and type(count) is int and first >= 0 and count > 0:
                runs.append((first, count))
            case _:
                raise InputError(
                    f"{where}: hash_runs contains {str(item)[:60]}; allowed: [first, count], whole numbers "
                    "of at least 0 and 1"
                )
    return runs


def _from_ids(row: Row, where: str) -> list[Run]:
    runs: list[Run] = []
    begin = following = -1
    for block in integers(row, "hash_ids", where):
        if block < 0:
            raise InputError(f"{where}: hash_ids contains {block}; allowed: at least 0")
        if block != following:
            if begin >= 0:
                runs.append((begin, following - begin))
            begin = block
        following = block + 1
    if begin >= 0:
        runs.append((begin, following - begin))
    return runs


def _optional(row: Row, key: str, where: str) -> float | None:
    return None if row.get(key) is None else number(row, key, where)


def _text(row: Row, key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise InputError(f"{where}: {key} = {value!r}; allowed: printable text")
    return value


def _entries(row: Row, where: str, what: str) -> Iterator[tuple[str, Row]]:
    """The objects under ``requests``, each with its place in messages (number in the list, from 1)."""
    value = row.get("requests")
    if not isinstance(value, list):
        raise InputError(f"{where}: requests = {str(value)[:60]}; allowed: a list of objects")
    for i, entry in enumerate(value, start=1):
        here = f"{where}, {what} {i}"
        if not isinstance(entry, dict):
            raise InputError(f"{here}: {str(entry)[:60]!r}; allowed: an object")
        yield here, entry
