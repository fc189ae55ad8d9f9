"""Multi-turn chats: every turn resends the system prompt and the history, habits applied."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from workloads.errors import InputError
from workloads.generators.conversation import Conversation, SystemMessages
from workloads.generators.generated import Generated
from workloads.habits import Habits
from workloads.lengths import Distribution, Exponential, Geometric, Lognormal, whole
from workloads.schema import MOST, Schema
from workloads.seeds import stream
from workloads.trace import NONE, Trace


class SystemPrompt(Schema):
    """The system message and who sends the same one.

    ``shared_by: none`` means that no two requests send the same one, so the whole prompt is new content
    every time. A client that changes only a part of it is a habit (``habits.system_prompt: clock``).
    """

    tokens: int = Field(ge=0, le=MOST)
    """Length of the system message, in tokens; 0: none."""
    shared_by: Literal["all", "tenant", "session", "none"] = "all"
    """Who sends the same one: `all` sessions, those of a `tenant`, the turns of a `session`, or nobody
    (`none`)."""


class Branching(Schema):
    """How often a user goes back: ``{regenerate: 0.1, edit: 0.05}``, shares of the turns after the first.

    ``regenerate`` sends the last prompt again; the history then has the new reply in place of the old one.
    ``edit`` rewrites the last question and drops what came after it. Such turns count as turns.
    """

    regenerate: float = Field(default=0.0, ge=0, le=1)
    """Share of the turns after the first that ask again for the last reply."""
    edit: float = Field(default=0.0, ge=0, le=1)
    """Share of the turns after the first that rewrite the last question."""

    @model_validator(mode="after")
    def _at_most_all(self) -> Branching:
        if self.regenerate + self.edit > 1:
            raise ValueError("regenerate and edit are shares of the turns; allowed: a sum of at most 1")
        return self


class ChatWorkload(Generated):
    """Sessions of several turns: a turn arrives a think time after the last reply.

    The prompt of turn n is the system message, the session's document if it has one, then user message and
    reply of turns 1 to n-1, then user message n; ``habits`` and ``branching`` change that and nothing else.
    Session starts, turn counts, lengths and think times come from separate seeded streams. Lengths are
    rounded to at least one token.

    ``{kind: chat, sessions: 1000, arrival: {rate_per_s: 2}}`` is a whole workload. Defaults:

    - ``turns``: half of all chats have one, others go on with a probability of 0.8 a turn (Qwen-Bailian
      trace A: 54 % have one, p90 5; Wang et al., ATC 2025).
    - ``think_time_s``: lognormal, median 100 s, p90 700 s (the same trace: 111 and 718 s from a turn to the
      next; ServeGen: about 100 s).
    - ``system_prompt``: 870 tokens, the same for all (inferred from Mooncake's conversation trace).
    - ``user_tokens``: mean 161 (ShareGPT; LMSYS-Chat-1M 70, WildChat 296), as lognormal with a sigma of 1,
      which is an assumption.
    - ``reply_tokens``: exponential (ServeGen), mean 300 (Azure's chats 211, Mooncake 343, ShareGPT 338).
    """

    kind: Literal["chat"]
    turns: Distribution = Geometric(distribution="geometric", mean=5, second=0.5)
    """Number of turns of a session."""
    think_time_s: Distribution = Lognormal(distribution="lognormal", median=100, sigma=1.52)
    """Time between a reply and the next turn, s."""
    system_prompt: SystemPrompt = SystemPrompt(tokens=870)
    """The system message and who shares it, such as `{tokens: 1000, shared_by: all}`."""
    document_tokens: Distribution | None = None
    """A text behind the system message that each session has for itself: a file, a case, a transcript."""
    first_user_tokens: Distribution | None = None
    """Length of the first user message where it is unlike the later ones, which are ``user_tokens``."""
    user_tokens: Distribution = Lognormal(distribution="lognormal", mean=161, sigma=1.0)
    """Length of a user message, in tokens."""
    reply_tokens: Distribution = Exponential(distribution="exponential", mean=300)
    """Length of a reply, in tokens."""
    reasoning_tokens: Distribution | None = None
    """Generated before the ``reply_tokens`` of each reply, and dropped from the history: the reply stands
    behind other content when it is resent, so its KV is computed again (Qwen3, DeepSeek and other chat
    templates do so). Client means of reasoning models have a median of 728 output tokens in ServeGen."""
    tenants: int = Field(default=1, gt=0, le=MOST)
    """How many tenants (users or customers) the sessions belong to, drawn evenly."""
    habits: Habits = Habits()
    """What the client does to the history that it resends; all good habits by default."""
    branching: Branching | None = None
    """How often users regenerate replies or edit questions; left out: never."""

    @model_validator(mode="after")
    def _habits_fit(self) -> ChatWorkload:
        self.habits.require_place(self.system_prompt.tokens)
        return self

    def build(self, seed: int, folder: Path) -> Trace:
        """Draw the trace; ``folder`` is not used."""
        starts = self.starts_s(seed)
        sessions = len(starts)
        turns = whole(self.turns.sample(stream(seed, "turns"), sessions), "workload.turns")
        total = sum(turns)
        if total > MOST:
            raise InputError(f"workload.turns: {total:.3g} in all sessions; allowed: up to {MOST:.0e}")
        thinks: list[float] = self.think_time_s.sample(stream(seed, "think"), total).tolist()
        users = whole(self.user_tokens.sample(stream(seed, "user"), total), "workload.user_tokens")
        replies = whole(self.reply_tokens.sample(stream(seed, "reply"), total), "workload.reply_tokens")
        tenants: list[int] = stream(seed, "tenant").integers(self.tenants, size=sessions).tolist()
        documents = self._lengths("document_tokens", seed, sessions)
        firsts = self._lengths("first_user_tokens", seed, sessions)
        reasoning = self._lengths("reasoning_tokens", seed, total, least=0)
        steps = self._steps(seed, total)

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
                    head = system.of(owner)
                    if documents is not None:
                        head = trace.content.append(head, documents[session])
                    conversation.begin_with(head)
                asked = users[request] if turn > 1 or firsts is None else firsts[session]
                step = steps[request] if turn > 1 else "ask"
                if step == "regenerate":
                    prompt = conversation.ask_again()
                else:
                    prompt = conversation.ask(asked, rewritten=step == "edit")
                thought = 0 if reasoning is None else reasoning[request]
                before = trace.add(
                    prompt=prompt,
                    output_tokens=thought + replies[request],
                    arrival_s=starts[session] if turn == 1 else None,
                    follows=before,
                    think_s=thinks[request] if turn > 1 else 0.0,
                    session=session,
                    turn=turn,
                    tenant=tenant,
                )
                conversation.answered(replies[request], None if thought else trace.reply[before])
                request += 1
        self.arrival.apply(trace)
        return trace

    def _lengths(self, key: str, seed: int, n: int, least: int = 1) -> list[int] | None:
        """Draws of a distribution that need not be there."""
        distribution: Distribution | None = getattr(self, key)
        if distribution is None:
            return None
        return whole(distribution.sample(stream(seed, key), n), f"workload.{key}", least)

    def _steps(self, seed: int, total: int) -> list[str]:
        """What the user does at each turn: ask, regenerate or edit."""
        if self.branching is None:
            return ["ask"] * total
        bounds = np.cumsum([self.branching.regenerate, self.branching.edit])
        which = np.searchsorted(bounds, stream(seed, "branch").random(total), side="right")
        return [("regenerate", "edit", "ask")[step] for step in which]
