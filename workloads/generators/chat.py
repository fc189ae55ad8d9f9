"""Multi-turn chats: every turn resends the system prompt and the history, habits applied."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from workloads.errors import InputError
from workloads.generators.conversation import Conversation, SystemMessages
from workloads.generators.generated import Generated
from workloads.habits import Habits
from workloads.lengths import (
    Distribution,
    Draws,
    Exponential,
    Geometric,
    Lognormal,
    opened,
    whole,
)
from workloads.part import Keep, Part
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
        return self.build_sessions(seed)

    def build_sessions(self, seed: int, keep: Keep | None = None) -> Trace:
        """Draw the trace, or of it the sessions that ``keep`` chooses, as a part that knows its place.

        All sessions are drawn, a portion at a time; only those that are kept are made into requests. So
        memory is that of the part, and a start time for every session.
        """
        starts = np.array(self.starts_s(seed))
        trace = Trace(messages=True)
        writer = _Writer(self, trace)
        draws = _Draws(self, seed)
        numbers = array("q")
        for first in range(0, len(starts), PORTION):
            sessions = np.arange(first, min(first + PORTION, len(starts)))
            kept = np.ones(len(sessions), bool) if keep is None else keep(sessions)
            portion = draws.next(kept)
            numbers.frombytes(portion.numbers.tobytes())
            writer.write(sessions[kept].tolist(), starts[sessions[kept]].tolist(), portion)
        if keep is not None:
            trace.part = Part(numbers, draws.requests, len(starts), float(starts[-1]))
        self.arrival.apply(trace)
        return trace

    def every_session(self, seed: int) -> Sessions:
        """When every session starts, how many turns it has, and whose it is: drawn alone, for `mix`."""
        starts_s = np.array(self.starts_s(seed))
        turns, tenants = opened(self.turns, stream(seed, "turns")), stream(seed, "tenant")
        portions = [min(PORTION, len(starts_s) - first) for first in range(0, len(starts_s), PORTION)]
        return Sessions(
            starts_s,
            np.concatenate([np.array(whole(turns(n), "workload.turns"), np.int32) for n in portions]),
            np.concatenate([tenants.integers(self.tenants, size=n).astype(np.int32) for n in portions]),
        )


PORTION = 1 << 16
"""Sessions that are drawn at a time."""


class Sessions(NamedTuple):
    """All sessions of a chat, one entry each."""

    starts_s: NDArray[np.float64]
    turns: NDArray[np.int32]
    tenants: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class _Portion:
    """What was drawn for some sessions that follow each other: of those kept, one entry per session."""

    numbers: NDArray[np.int64]
    """Of the requests, counted over the whole trace."""
    turns: list[int]
    tenants: list[int]
    documents: list[int] | None
    firsts: list[int] | None
    thinks: list[float]
    """From here on an entry per request."""
    users: list[int]
    replies: list[int]
    reasoning: list[int] | None
    steps: list[str]


class _Draws:
    """The random sources of a chat, each a stream of its own that goes on from portion to portion."""

    def __init__(self, chat: ChatWorkload, seed: int) -> None:
        def of(distribution: Distribution | None, name: str) -> Draws | None:
            return None if distribution is None else opened(distribution, stream(seed, name))

        self.requests = 0
        self._turns = opened(chat.turns, stream(seed, "turns"))
        self._think = opened(chat.think_time_s, stream(seed, "think"))
        self._user = of(chat.user_tokens, "user")
        self._reply = of(chat.reply_tokens, "reply")
        self._tenant, self._tenants = stream(seed, "tenant"), chat.tenants
        self._document = of(chat.document_tokens, "document_tokens")
        self._first = of(chat.first_user_tokens, "first_user_tokens")
        self._reasoning = of(chat.reasoning_tokens, "reasoning_tokens")
        self._branching, self._branch = chat.branching, stream(seed, "branch")

    def next(self, kept: NDArray[np.bool_]) -> _Portion:
        """Draw for the next ``len(kept)`` sessions; what is not ``kept`` is dropped at once."""
        turns = np.array(whole(self._turns(len(kept)), "workload.turns"))
        before, total = self.requests, int(turns.sum())
        self.requests += total
        if self.requests > MOST:
            raise InputError(
                f"workload.turns: {self.requests:.3g} in all sessions; allowed: up to {MOST:.0e}"
            )
        of_kept = np.repeat(kept, turns)

        def lengths(draws: Draws | None, key: str, of: NDArray[np.bool_], least: int = 1) -> Any:
            return None if draws is None else whole(draws(len(of))[of], f"workload.{key}", least)

        return _Portion(
            before + np.flatnonzero(of_kept),
            turns[kept].tolist(),
            self._tenant.integers(self._tenants, size=len(kept))[kept].tolist(),
            lengths(self._document, "document_tokens", kept),
            lengths(self._first, "first_user_tokens", kept),
            self._think(total)[of_kept].tolist(),
            lengths(self._user, "user_tokens", of_kept),
            lengths(self._reply, "reply_tokens", of_kept),
            lengths(self._reasoning, "reasoning_tokens", of_kept, least=0),
            self._steps(of_kept),
        )

    def _steps(self, of_kept: NDArray[np.bool_]) -> list[str]:
        """What the user does at each turn: ask, regenerate or edit."""
        if self._branching is None:
            return ["ask"] * int(of_kept.sum())
        bounds = np.cumsum([self._branching.regenerate, self._branching.edit])
        which = np.searchsorted(bounds, self._branch.random(len(of_kept))[of_kept], side="right")
        return [("regenerate", "edit", "ask")[step] for step in which]


class _Writer:
    """Makes requests of what was drawn."""

    def __init__(self, chat: ChatWorkload, trace: Trace) -> None:
        self._trace = trace
        self._shared_by = chat.system_prompt.shared_by
        self._system = SystemMessages(
            trace, chat.system_prompt.tokens, self._shared_by != "none", chat.habits
        )
        self._habits = chat.habits

    def write(self, sessions: list[int], starts_s: list[float], portion: _Portion) -> None:
        """Append the requests of ``sessions``, which start at ``starts_s``."""
        trace, system, habits = self._trace, self._system, self._habits
        history = habits.history
        kept, dropped = habits.kept_user_tokens, habits.dropped_user_tokens
        documents, firsts, reasoning = portion.documents, portion.firsts, portion.reasoning
        request = 0
        for place, session in enumerate(sessions):
            tenant = portion.tenants[place]
            owner = {"all": 0, "tenant": tenant, "session": session, "none": NONE}[self._shared_by]
            conversation = Conversation(trace, history, kept, dropped)
            before = NONE
            for turn in range(1, portion.turns[place] + 1):
                if turn == 1 or system.changes:
                    head = system.of(owner)
                    if documents is not None:
                        head = trace.content.append(head, documents[place])
                    conversation.begin_with(head)
                asked = portion.users[request] if turn > 1 or firsts is None else firsts[place]
                step = portion.steps[request] if turn > 1 else "ask"
                if step == "regenerate":
                    prompt = conversation.ask_again()
                else:
                    prompt = conversation.ask(asked, rewritten=step == "edit")
                thought = 0 if reasoning is None else reasoning[request]
                before = trace.add(
                    prompt=prompt,
                    output_tokens=thought + portion.replies[request],
                    arrival_s=starts_s[place] if turn == 1 else None,
                    follows=before,
                    think_s=portion.thinks[request] if turn > 1 else 0.0,
                    session=session,
                    turn=turn,
                    tenant=tenant,
                )
                conversation.answered(portion.replies[request], None if thought else trace.reply[before])
                request += 1
