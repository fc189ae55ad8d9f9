"""Multi-turn chats: every turn resends the system prompt and the history, habits applied."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from workloads.arrivals import Arrivals, ClosedLoop
from workloads.errors import InputError
from workloads.generators.conversation import Conversation, SystemMessages
from workloads.habits import Habits
from workloads.lengths import Distribution, whole
from workloads.schema import MOST, MOST_S, Schema
from workloads.seeds import stream
from workloads.trace import NONE, Trace


class SystemPrompt(Schema):
    """The system message and who sends the same one.

    ``shared_by: none`` means that no two requests send the same one, so the whole prompt is new content
    every time. A client that changes only a part of it is a habit (``habits.system_prompt: clock``).
    """

    tokens: int = Field(ge=0, le=MOST)
    shared_by: Literal["all", "tenant", "session", "none"] = "all"


class ChatWorkload(Schema):
    """Sessions of several turns in closed loop: a turn arrives a think time after the last reply.

    The prompt of turn n is the system message, then user message and reply of turns 1 to n-1, then
    user message n; ``habits`` change that and nothing else. Session starts, turn counts, lengths and
    think times come from separate seeded streams. Lengths are rounded to at least one token. Sessions start
    for ``duration_s``, or until there are so many ``sessions``, whichever is given, or comes first. A run
    twice as long begins as the shorter one does.
    """

    kind: Literal["chat"]
    sessions: int | None = Field(default=None, gt=0, le=MOST)
    duration_s: float | None = Field(default=None, gt=0, le=MOST_S)
    arrival: Arrivals
    turns: Distribution
    think_time_s: Distribution
    system_prompt: SystemPrompt
    user_tokens: Distribution
    reply_tokens: Distribution
    tenants: int = Field(default=1, gt=0, le=MOST)
    habits: Habits = Habits()

    @model_validator(mode="after")
    def _one_length(self) -> ChatWorkload:
        if self.sessions is None and self.duration_s is None:
            raise ValueError("give sessions, duration_s or both")
        if self.duration_s is not None and self.arrival.RATE is None:
            raise ValueError(f"duration_s does not go with arrival.process {self.arrival.process}")
        return self

    @model_validator(mode="after")
    def _habits_fit(self) -> ChatWorkload:
        self.habits.require_place(self.system_prompt.tokens)
        return self

    def build(self, seed: int, folder: Path) -> Trace:
        """Draw the trace; ``folder`` is not used."""
        starts = self._starts_s(seed)
        sessions = len(starts)
        turns = whole(self.turns.sample(stream(seed, "turns"), sessions), "workload.turns")
        total = sum(turns)
        if total > MOST:
            raise InputError(f"workload.turns: {total:.3g} in all sessions; allowed: up to {MOST:.0e}")
        thinks: list[float] = self.think_time_s.sample(stream(seed, "think"), total).tolist()
        users = whole(self.user_tokens.sample(stream(seed, "user"), total), "workload.user_tokens")
        replies = whole(self.reply_tokens.sample(stream(seed, "reply"), total), "workload.reply_tokens")
        tenants: list[int] = stream(seed, "tenant").integers(self.tenants, size=sessions).tolist()

        trace = Trace(messages=True)
        shared_by = self.system_prompt.shared_by
        system = SystemMessages(trace, self.system_prompt.tokens, shared_by != "none", self.habits)
        history = self.habits.history
        kept, dropped = self.habits.kept_user_tokens, self.habits.dropped_user_tokens
        request = 0
        for session in range(sessions):
            tenant = tenants[session]
            owner = {"all": 0, "tenant": tenant, "session": session, "none": NONE}[shared_by]
            conversation = Conversation(trace, history, kept, dropped)
            before = NONE
            for turn in range(1, turns[session] + 1):
                if turn == 1 or system.changes:
                    conversation.begin_with(system.of(owner))
                before = trace.add(
                    prompt=conversation.ask(users[request]),
                    output_tokens=replies[request],
                    arrival_s=starts[session] if turn == 1 else None,
                    follows=before,
                    think_s=thinks[request] if turn > 1 else 0.0,
                    session=session,
                    turn=turn,
                    tenant=tenant,
                )
                conversation.answered(replies[request], trace.reply[before])
                request += 1
        self.arrival.apply(trace)
        return trace

    def _starts_s(self, seed: int) -> list[float]:
        """When each session starts, ascending."""
        if self.duration_s is None:
            assert self.sessions is not None
            starts: list[float] = self.arrival.times_s(stream(seed, "arrival"), self.sessions).tolist()
            return starts
        assert not isinstance(self.arrival, ClosedLoop)
        expected = self.duration_s * self.arrival.most_per_s
        if expected > MOST:
            raise InputError(f"workload.duration_s: {expected:.3g} sessions; allowed: up to {MOST:.0e}")
        # Nine standard deviations more than expected, so that the last one starts after the end.
        most = int(expected + 9 * expected**0.5) + 10
        times = self.arrival.times_s(stream(seed, "arrival"), most)
        within: list[float] = times[times < self.duration_s][: self.sessions].tolist()
        if not within:
            raise InputError(
                f"workload.duration_s = {self.duration_s:g}: no session starts within it; allowed: longer"
            )
        return within
