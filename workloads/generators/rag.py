"""Retrieval: every question brings documents, which stand before or after the history."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from workloads.content import ROOT
from workloads.errors import InputError
from workloads.generators.chat import SystemPrompt
from workloads.generators.conversation import send
from workloads.generators.generated import Generated
from workloads.generators.texts import Library, Texts
from workloads.lengths import Distribution, Exponential, Geometric, Lognormal, whole
from workloads.messages import Several
from workloads.popularity import drawn_sets
from workloads.schema import MOST
from workloads.seeds import stream
from workloads.trace import NONE, Trace


class RagWorkload(Generated):
    """Sessions of questions, each with ``retrieved`` documents out of ``documents`` that all users share.

    ``place`` is where the documents stand:

    - ``before`` the history: system prompt, documents, earlier turns, question. Other documents put the
      whole history behind other content.
    - ``after`` it: system prompt, earlier turns, documents, question. The first question of a session
      shares documents with other sessions; the documents of later ones stand behind a history that nobody
      else has. The history drops them, or has them still with ``kept``.

    ``order: retrieved`` is the order of the search, another one for each question; ``fixed`` sorts the
    documents, so that equal sets are equal content.

    Defaults: 1,000 documents of about 1,000 tokens whose popularity is Zipf's with an exponent of 1.1, by
    which 3 % of them are 62 % of what is retrieved (RAGCache, Jin et al. 2024: 60 %, and 1,000 or more
    tokens to a question of 100); five of them, an assumption; turns, think times and replies as in a chat.
    """

    kind: Literal["rag"]
    turns: Distribution = Geometric(distribution="geometric", mean=5, second=0.5)
    """Questions in a session."""
    think_time_s: Distribution = Lognormal(distribution="lognormal", median=100, sigma=1.52)
    """Time between a reply and the next question, s."""
    system_prompt: SystemPrompt = SystemPrompt(tokens=870)
    """The system message and who shares it, such as `{tokens: 1000, shared_by: all}`."""
    documents: Texts = Texts(zipf=1.1)
    """The documents that can be found: how many, how long, how popular."""
    retrieved: int = Field(default=5, ge=1, le=1000)
    """How many documents come with each question."""
    place: Literal["before", "after"] = "after"
    """Where they stand: `before` or `after` the earlier turns."""
    order: Literal["retrieved", "fixed"] = "retrieved"
    """`retrieved`: in the order of the search, another one each time; `fixed`: sorted, so that equal sets
    are equal content."""
    kept: bool = False
    """Whether the documents of earlier questions stay in the history; goes with `place: after`."""
    user_tokens: Distribution = Exponential(distribution="exponential", mean=100)
    """Length of a question, in tokens."""
    reply_tokens: Distribution = Exponential(distribution="exponential", mean=300)
    """Length of a reply, in tokens."""
    tenants: int = Field(default=1, gt=0, le=MOST)
    """How many tenants (users or customers) the sessions belong to, drawn evenly."""

    @model_validator(mode="after")
    def _enough_documents(self) -> RagWorkload:
        if self.retrieved > self.documents.count:
            raise ValueError(f"retrieved = {self.retrieved}; allowed: up to documents.count")
        if self.kept and self.place == "before":
            raise ValueError("kept goes with place: after")
        if self.system_prompt.shared_by == "none":
            raise ValueError("system_prompt.shared_by = none; allowed: all, tenant, session")
        return self

    def build(self, seed: int, folder: Path) -> Trace:
        """Draw the trace; ``folder`` is not used."""
        starts = self.starts_s(seed)
        turns = whole(self.turns.sample(stream(seed, "turns"), len(starts)), "workload.turns")
        total = sum(turns)
        if total > MOST:
            raise InputError(f"workload.turns: {total:.3g} in all sessions; allowed: up to {MOST:.0e}")
        thinks: list[float] = self.think_time_s.sample(stream(seed, "think"), total).tolist()
        users = whole(self.user_tokens.sample(stream(seed, "user"), total), "workload.user_tokens")
        replies = whole(self.reply_tokens.sample(stream(seed, "reply"), total), "workload.reply_tokens")
        tenants: list[int] = stream(seed, "tenant").integers(self.tenants, size=len(starts)).tolist()
        shares = self.documents.shares()
        found = drawn_sets(stream(seed, "retrieved"), shares, total, self.retrieved)
        if self.order == "fixed":
            found = [sorted(documents) for documents in found]

        trace = Trace(messages=True)
        library = Library(trace, self.documents.lengths(seed, "documents"))
        heads: dict[int, int] = {}
        request = 0
        for session, start_s in enumerate(starts):
            owner = {"all": 0, "tenant": tenants[session]}.get(self.system_prompt.shared_by, session)
            if owner not in heads and self.system_prompt.tokens:
                heads[owner] = trace.content.append(ROOT, self.system_prompt.tokens)
                trace.system_messages.add(heads[owner])
            history = _History(trace, library, heads.get(owner, ROOT), self)
            before = NONE
            for turn in range(1, turns[session] + 1):
                before = trace.add(
                    prompt=history.ask(found[request], users[request]),
                    output_tokens=replies[request],
                    arrival_s=start_s if turn == 1 else None,
                    follows=before,
                    think_s=thinks[request] if turn > 1 else 0.0,
                    session=session,
                    turn=turn,
                    tenant=tenants[session],
                )
                history.answered(users[request], replies[request], trace.reply[before])
                request += 1
        self.arrival.apply(trace)
        return trace


class _History:
    """The turns of one session, with their documents where they belong."""

    def __init__(self, trace: Trace, library: Library, head: int, config: RagWorkload) -> None:
        self._trace = trace
        self._library = library
        self._head = head
        self._before = config.place == "before"
        self._kept = config.kept
        self._at = head
        """Where the history ends, documents left out unless they are kept."""
        self._messages: list[int] = []
        self._sent: dict[int, tuple[int, int]] = {}
        """Behind which documents the history was sent before: where that ends, and how many messages."""
        self._documents = head

    def ask(self, documents: list[int], user_tokens: int) -> int:
        """The segment at which the prompt ends."""
        if not self._before:
            return self._trace.content.append(self._library.behind(self._at, documents), user_tokens)
        self._messages.append(user_tokens)
        self._documents = self._library.behind(self._head, documents)
        at, known = self._sent.get(self._documents, (self._documents, 0))
        count = len(self._messages)
        return send(self._trace, at, Several(self._messages, known, count, count - 1))

    def answered(self, user_tokens: int, reply_tokens: int, reply: int) -> None:
        """Add question and reply to the history."""
        if self._before:
            self._messages.append(reply_tokens)
            self._sent[self._documents] = reply, len(self._messages)
        elif self._kept:
            self._at = reply
        else:  # the same texts behind other content than they were sent and generated on
            content = self._trace.content
            self._at = content.append(content.append(self._at, user_tokens), reply_tokens)
            self._trace.resent_replies.add(self._at)
