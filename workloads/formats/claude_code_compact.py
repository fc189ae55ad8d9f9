"""Sessions of a coding agent (Claude Code): times, lengths and block ids of every model call, no text.

Source of the format: the traces of github.com/callanjfox/kv-cache-tester (WEKA), in the compact form
that joins them into one JSON Lines file and writes ``hash_ids`` as ``hash_runs``; both are read. One
session a line: ``id``, ``block_size`` (64 tokens), ``hash_id_scope``, ``requests``. A request is a model
call (``t`` in s from the session's start, ``in`` and ``out`` in tokens, block ids, ``api_time`` and
``think_time`` in s) or a sub-agent, which has model calls of its own.

Files as upstream writes them, one indented object a session, are read too, and folders of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt, PositiveInt, model_validator

from workloads.arrivals import Arrivals, ClosedLoop
from workloads.errors import InputError
from workloads.formats.jsonl import Row, text, whole
from workloads.formats.reader import Reader
from workloads.formats.timing import span_note
from workloads.formats.weka_calls import AgentSession, Scope, session_of
from workloads.formats.weka_clock import Meaning, meaning_of
from workloads.ranges import RangeTree
from workloads.schema import Schema
from workloads.seeds import stream
from workloads.trace import NONE, Trace


class ClaudeCodeTrace(Schema):
    """A file of recorded sessions, or a folder of such files; every model call is a request.

    Sessions are numbered in the order of their ids. Block ids mean something only within their session,
    unless the file says that they are ``global``, or ``scope`` does; a session's sub-agents use its
    numbering. Requests are sorted by (time, session, place in the session). A prompt names its whole
    blocks; the rest of it, and the reply, are shared with nobody, so hits are a lower bound. A reply of 0
    tokens (not captured) counts as 1.

    ``turn`` is the number of a main call within its session, or of a sub-agent's call within the
    sub-agent, from 1. Names are ``trace_0001/17`` and ``trace_0001/agent_001/3``.

    ``loop: open`` keeps the recorded times. The calls of a sub-agent count from its own start. Its ``t`` is
    that start in files that keep to the published format or give no ``duration_ms``, and its end in those
    of kv-cache-tester (start = t - duration_ms / 1000); ``subagent_t`` says which, else the parent's calls
    do (`weka_clock`).

    ``loop: closed`` chains the main calls of a session: the first comes at its ``t``, each next one a
    think time after the reply to the one before. Recorded ``think_time`` counts from the end of the
    last call *that has an ``api_time``*, so it is used only where that is the call before; elsewhere it
    spans several calls, and the difference of ``t`` stands in (it contains the unknown service time).
    An absent ``think_time`` after a call with ``api_time`` is computed by its definition, and a think
    time across a sub-agent contains the wait for it. The calls of a sub-agent are chained in the same way;
    its first keeps the recorded time: nothing tells which reply it waits for.

    All sessions start at time 0 on their own clocks, or as ``arrival`` says; its ``closed_loop`` needs
    sessions that are one chain (``loop: closed, subagents: exclude``).
    """

    kind: Literal["trace"]
    format: Literal["claude_code_compact", "weka"]
    path: Path
    """The file, or a folder of such files; relative to the configuration's folder or the current one."""
    subagents: Literal["include", "exclude"] = "include"
    """Whether the calls of sub-agents are part of the trace."""
    subagent_t: Meaning | None = None
    """Whether a sub-agent's `t` is its start (`spawn`) or its `end`; left out: found from the calls around
    it."""
    scope: Scope | None = None
    """Whether ids are ``local`` to a session or ``global``; by default as the file says, else local."""
    sessions: PositiveInt | None = None
    """Only so many, by file order."""
    loop: Literal["open", "closed"] = "open"
    """`open`: all calls at their recorded times; `closed`: a call waits for the reply before it, then a
    think time."""
    arrival: Arrivals | None = None
    """When sessions start, by any process of a generated workload; left out: all at time 0 of their own
    clocks."""
    skip_bad_lines: NonNegativeInt = 0
    """How many lines that cannot be read are passed over, and counted in the notes, before the file is
    refused."""

    @model_validator(mode="after")
    def _sessions_that_end(self) -> ClaudeCodeTrace:
        chained = self.loop == "closed" and self.subagents == "exclude"
        if isinstance(self.arrival, ClosedLoop) and not chained:
            raise ValueError("arrival: closed_loop needs loop: closed and subagents: exclude")
        return self

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """A session with its block size."""
        return row.keys() >= {"id", "block_size", "requests"}

    def build(self, seed: int, folder: Path) -> Trace:
        """Read the file, relative to ``folder`` (that of the configuration) or the current one."""
        reader = Reader(self.path, folder, self.skip_bad_lines)
        trace = Trace(named_blocks=[], origin=reader.path.name, request_ids=[], api_s=[])
        trace.lines = None if reader.several else []
        sessions = self._sessions(reader, trace)
        notes = self._set_clocks(sessions)
        starts = [0.0] * len(sessions)
        if self.arrival is not None:
            starts = self.arrival.times_s(stream(seed, "arrival"), len(sessions)).tolist()
        order = sorted(
            (starts[s] + call.at_s, s, i)
            for s, session in enumerate(sessions)
            for i, call in enumerate(session.calls)
        )
        self._add(trace, sessions, order)
        if not all(session.scoped for session in sessions) and self.scope is None:
            notes.append(
                "the file does not say whether block ids are local to a session: read as local, as the "
                "published format has it; scope: global shares them, as GuideLLM does"
            )
        trace.notes = [span_note(trace, "times read as s, all sessions from a common start")]
        trace.notes += [f"{trace.origin}: {note}" for note in notes] + reader.notes()
        if self.arrival is not None:
            self.arrival.apply(trace)
        return trace

    def _add(self, trace: Trace, sessions: list[AgentSession], order: list[tuple[float, int, int]]) -> None:
        """Add the calls in this order of (time in s, session, place in it)."""
        assert trace.named_blocks is not None and trace.request_ids is not None
        assert trace.api_s is not None
        models: list[str] = []
        latest: dict[tuple[int, str], int] = {}
        for at_s, s, i in order:
            call = sessions[s].calls[i]
            before = latest.get((s, call.lane), NONE) if call.waits else NONE
            follows = before if self.loop == "closed" else NONE
            latest[s, call.lane] = trace.add(
                prompt=call.prompt,
                output_tokens=call.output_tokens,
                arrival_s=at_s if follows == NONE else None,
                follows=follows,
                think_s=0.0 if follows == NONE else call.think_s,
                continues=before,
                session=s,
                turn=call.turn,
            )
            trace.named_blocks.append(call.blocks)
            if trace.lines is not None:
                trace.lines.append(sessions[s].line)
            trace.request_ids.append(call.name)
            models.append(call.model)
            trace.api_s.append(call.api_s)
            if call.answers_tool:
                trace.tool_turns.add(latest[s, call.lane])
        if all(models):
            trace.models = models

    def _sessions(self, reader: Reader, trace: Trace) -> list[AgentSession]:
        """The sessions in the order of their ids, their prompts in the content tree."""
        found: dict[str, AgentSession] = {}
        trees: list[RangeTree] = []

        def session(where: str, line: int, row: Row) -> AgentSession:
            name = text(row, "id", where)
            if name in found:
                raise InputError(
                    f"{where}: id = {name!r}, as in line {found[name].line}; allowed: once"
                    if not reader.several
                    else f"{where}: id = {name!r} for the second time; allowed: once"
                )
            where = f"{where}: session {name}"
            size = whole(row, "block_size", where)
            if not trees:
                trees.append(RangeTree(trace.content, size))
                trace.block_id_tokens = size
            elif size != trace.block_id_tokens:
                raise InputError(
                    f"{where}: block_size = {size}; allowed: {trace.block_id_tokens}, as in the first "
                    "session"
                )
            return session_of(
                name, where, line, row, trees[0], self.scope, subagents=self.subagents == "include"
            )

        for made in reader.each(session):
            found[made.id] = made
            if len(found) == self.sessions:
                break
        if self.sessions is not None and len(found) < self.sessions:
            raise InputError(
                f"{reader.path}: sessions = {self.sessions}; allowed: at most {len(found)}, all it has"
            )
        if not any(session.calls for session in found.values()):
            raise InputError(f"{reader.path}: no requests; allowed: one session with its requests a line")
        return [found[key] for key in sorted(found)]

    def _set_clocks(self, sessions: list[AgentSession]) -> list[str]:
        """Put the calls of all sub-agents on the clocks of their sessions."""
        agents = [agent for session in sessions for agent in session.agents]
        meaning, note = meaning_of([agent.span for agent in agents])
        meaning = self.subagent_t or meaning
        for agent in agents:
            start_s = agent.span.start_s(meaning)
            for call in agent.calls:
                call.at_s += start_s
        return [note] if agents and self.subagent_t is None else []
