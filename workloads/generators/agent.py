"""Agents: a model that calls tools in a loop, and resends everything with each result."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from workloads.errors import InputError
from workloads.generators.chat import SystemPrompt
from workloads.generators.conversation import Conversation
from workloads.generators.generated import Generated
from workloads.habits import Append
from workloads.lengths import Distribution, Lognormal, whole
from workloads.schema import MOST, Schema
from workloads.seeds import stream
from workloads.trace import NONE, Trace


class Compaction(Schema):
    """A prompt that would have more than ``at_tokens`` starts anew: head, a summary, and what is new.

    The call that writes the summary is not part of the workload. Defaults: of the recorded sessions below,
    123 calls have a prompt of less than 60 % of the one before; it had 152,000 tokens in the median, and
    36,000 then, 15,000 of them the head.
    """

    at_tokens: PositiveInt = 155_000
    """Length of a prompt, in tokens, above which the history is replaced."""
    summary_tokens: Distribution = Lognormal(distribution="lognormal", median=20_000, sigma=0.6)
    """Length of the summary, in tokens."""


class Subagents(Schema):
    """Other agents that an agent starts by a call and waits for, each a session of its own.

    ``share`` is that of the calls which start one. Its results and replies have its parent's lengths. They
    come one at a time; what several do at once is not told here. Defaults: 30 in 23,682 recorded calls.
    """

    share: float = Field(default=0.0013, ge=0, le=1)
    """Share of the calls that start another agent; 0: none do."""
    calls: Distribution = Lognormal(distribution="lognormal", median=10, sigma=0.5)
    """Number of calls of a sub-agent."""
    system_tokens: PositiveInt = 8900
    """Of their tools and system prompt, the same for all of them."""
    task_tokens: Distribution = Lognormal(distribution="lognormal", median=3300, sigma=0.5)
    """Length of the task that a sub-agent is given, in tokens."""


class AgentWorkload(Generated):
    """Sessions of many calls: a task, then tool results and, now and then, a word of the user.

    Every call resends what stands before it; a call comes after a tool's or a user's time. The history is
    rewritten as a whole at some calls (a client that edits its old messages: all behind the head is new
    content), and compacted when it is long. Calls, lengths and gaps come from separate seeded streams.

    Defaults are computed from 357 recorded sessions of Claude Code (kv-cache-tester by WEKA, Apache-2.0;
    24,015 calls): calls of a session p50 44, mean 66; head 12,300 tokens of tools and 2,800 of system
    prompt; tasks from sessions that were recorded from their start; results are what a prompt has grown by
    besides the last reply (mean 1,457 tokens); replies p50 218, mean 440 tokens; a tool's time p50 9 s, a
    user's 220 s; 5.1 % of the calls follow a reply that ended the agent's turn. TraceLab has shorter gaps:
    1.0 s for tools alone, 121 s for users.
    """

    kind: Literal["agent"]
    calls: Distribution = Lognormal(distribution="lognormal", median=44, sigma=0.9)
    """Number of calls of a session."""
    system_prompt: SystemPrompt = SystemPrompt(tokens=15_100)
    """Tools and system prompt."""
    task_tokens: Distribution = Lognormal(distribution="lognormal", median=3440, sigma=1.1)
    """The first message: the task and what the client adds to it."""
    result_tokens: Distribution = Lognormal(distribution="lognormal", median=386, sigma=1.62)
    """Length of a tool's result, in tokens."""
    user_tokens: Distribution = Lognormal(distribution="lognormal", median=175, sigma=1.87)
    """Length of what the user says between, in tokens."""
    output_tokens: Distribution = Lognormal(distribution="lognormal", median=218, sigma=1.185)
    """Length of a reply, tool call or text, in tokens."""
    tool_time_s: Distribution = Lognormal(distribution="lognormal", median=12.5, sigma=1.25)
    """Time that a tool takes between a reply and the next call, s."""
    think_time_s: Distribution = Lognormal(distribution="lognormal", median=221, sigma=2.07)
    """Between a reply that ends the agent's turn and what the user says then."""
    user_share: float = Field(default=0.051, ge=0, le=1)
    """Share of the calls after the first that answer a user and no tool."""
    rewritten_share: float = Field(default=0.014, ge=0, le=1)
    """Share of the calls at which all behind the head is new content: 328 of 23,325 recorded ones."""
    compaction: Compaction | None = Compaction()
    """When and how a long history is replaced by a summary; null: never."""
    subagents: Subagents = Subagents()
    """Agents that the agent starts and waits for."""
    tenants: int = Field(default=1, gt=0, le=MOST)
    """How many tenants (users or customers) the sessions belong to, drawn evenly."""

    @model_validator(mode="after")
    def _shared_by_somebody(self) -> AgentWorkload:
        if self.system_prompt.shared_by == "none":
            raise ValueError("system_prompt.shared_by = none; allowed: all, tenant, session")
        return self

    def build(self, seed: int, folder: Path) -> Trace:
        """Draw the trace; ``folder`` is not used."""
        return _Drawing(self, seed).trace


class _Drawing:
    """One trace being drawn."""

    def __init__(self, config: AgentWorkload, seed: int) -> None:
        self._config = config
        self.trace = Trace(messages=True)
        starts = config.starts_s(seed)
        calls = whole(config.calls.sample(stream(seed, "calls"), len(starts)), "workload.calls")
        total = sum(calls)
        if total > MOST:
            raise InputError(f"workload.calls: {total:.3g} in all sessions; allowed: up to {MOST:.0e}")
        tenants: list[int] = stream(seed, "tenant").integers(config.tenants, size=len(starts)).tolist()
        self._tasks = self._lengths(config.task_tokens, "task_tokens", seed, len(starts))
        self._results = self._lengths(config.result_tokens, "result_tokens", seed, total)
        self._users = self._lengths(config.user_tokens, "user_tokens", seed, total)
        self._outputs = self._lengths(config.output_tokens, "output_tokens", seed, total)
        self._tools_s = iter(config.tool_time_s.sample(stream(seed, "tool_time_s"), total).tolist())
        self._thinks_s = iter(config.think_time_s.sample(stream(seed, "think_time_s"), total).tolist())
        if config.compaction is not None:
            self._summaries = self._lengths(
                config.compaction.summary_tokens, "compaction.summary_tokens", seed, total
            )
        speaks = (stream(seed, "speaks").random(total) < config.user_share).tolist()
        rewrites = (stream(seed, "rewrites").random(total) < config.rewritten_share).tolist()
        starts_one = (stream(seed, "starts_one").random(total) < config.subagents.share).tolist()
        self._sub = _SubDraws(config, seed, sum(starts_one))
        self._heads: dict[int, int] = {}
        self._sub_head = NONE
        self._sessions = 0
        done = 0
        for start_s, count, tenant in zip(starts, calls, tenants, strict=True):
            here = slice(done, done + count)
            self._session(start_s, tenant, speaks[here], rewrites[here], starts_one[here])
            done += count
        config.arrival.apply(self.trace)

    def _lengths(self, distribution: Distribution, key: str, seed: int, n: int) -> Iterator[int]:
        return iter(whole(distribution.sample(stream(seed, key), n), f"workload.{key}"))

    def _session(
        self, start_s: float, tenant: int, speaks: list[bool], rewrites: list[bool], starts_one: list[bool]
    ) -> None:
        """All calls of a session and of its sub-agents."""
        config, trace = self._config, self.trace
        session = self._new_session()
        head = self._head(session, tenant)
        conversation = Conversation(trace, Append(), 0, 0)
        conversation.begin_with(head)
        before, tokens, context = NONE, next(self._tasks), 0
        flags = zip(speaks, rewrites, starts_one, strict=True)
        for turn, (user, rewrite, delegates) in enumerate(flags, start=1):
            # Every stream gives one number a call, so that no draw moves another one.
            result, said = next(self._results), next(self._users)
            tool_s, think_s = next(self._tools_s), next(self._thinks_s)
            summary = next(self._summaries) if config.compaction else 0
            user = user and turn > 1
            if turn > 1:
                tokens = said if user else result
                if config.compaction and context + tokens > config.compaction.at_tokens:
                    conversation.compact(summary)
                elif rewrite:
                    conversation.begin_with(head)
            if turn > 1 and not user:
                trace.tool_turns.add(len(trace))
            prompt = conversation.ask(tokens)
            before = trace.add(
                prompt=prompt,
                output_tokens=next(self._outputs),
                arrival_s=start_s if turn == 1 else None,
                follows=before,
                think_s=0.0 if turn == 1 else think_s if user else tool_s,
                session=session,
                turn=turn,
                tenant=tenant,
            )
            conversation.answered(trace.output_tokens[before], trace.reply[before])
            context = trace.content.end[trace.reply[before]]
            if delegates:
                before = self._subagent(session, tenant, before)

    def _subagent(self, parent: int, tenant: int, before: int) -> int:
        """The calls of a sub-agent that the call ``before`` starts; returns the last one."""
        trace, draws = self.trace, self._sub
        session = self._new_session()
        trace.parents[session] = parent
        if self._sub_head == NONE:
            self._sub_head = trace.content.append(0, self._config.subagents.system_tokens)
            trace.system_messages.add(self._sub_head)
        conversation = Conversation(trace, Append(), 0, 0)
        conversation.begin_with(self._sub_head)
        for turn in range(1, next(draws.calls) + 1):
            if turn > 1:
                trace.tool_turns.add(len(trace))
            result, tool_s = next(draws.results), next(draws.tools_s)
            before = trace.add(
                prompt=conversation.ask(next(draws.tasks) if turn == 1 else result),
                output_tokens=next(draws.outputs),
                follows=before,
                think_s=0.0 if turn == 1 else tool_s,
                session=session,
                turn=turn,
                tenant=tenant,
            )
            conversation.answered(trace.output_tokens[before], trace.reply[before])
        return before

    def _new_session(self) -> int:
        self._sessions += 1
        return self._sessions - 1

    def _head(self, session: int, tenant: int) -> int:
        """The segment at which tools and system prompt end."""
        prompt = self._config.system_prompt
        if not prompt.tokens:
            return 0
        owner = {"all": 0, "tenant": tenant}.get(prompt.shared_by, session)
        if owner not in self._heads:
            self._heads[owner] = self.trace.content.append(0, prompt.tokens)
            self.trace.system_messages.add(self._heads[owner])
        return self._heads[owner]


class _SubDraws:
    """What all sub-agents draw, in the order in which they start."""

    def __init__(self, config: AgentWorkload, seed: int, count: int) -> None:
        sub = config.subagents
        calls = whole(sub.calls.sample(stream(seed, "sub-calls"), count), "workload.subagents.calls")
        total = sum(calls)
        self.calls = iter(calls)

        def lengths(distribution: Distribution, key: str, n: int) -> Iterator[int]:
            return iter(whole(distribution.sample(stream(seed, f"sub-{key}"), n), f"workload.{key}"))

        self.tasks = lengths(sub.task_tokens, "subagents.task_tokens", count)
        self.results = lengths(config.result_tokens, "result_tokens", total)
        self.outputs = lengths(config.output_tokens, "output_tokens", total)
        self.tools_s = iter(config.tool_time_s.sample(stream(seed, "sub-tool_time_s"), total).tolist())
