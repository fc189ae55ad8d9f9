"""Long documents: several readers of a few long texts, who ask about them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from workloads.content import ROOT
from workloads.errors import InputError
from workloads.generators.generated import Generated
from workloads.generators.texts import Library, Texts
from workloads.lengths import Constant, Distribution, Exponential, Lognormal, whole
from workloads.popularity import drawn
from workloads.schema import MOST
from workloads.seeds import stream
from workloads.trace import NONE, Trace


class LongDocumentsWorkload(Generated):
    """Sessions of questions about one of the ``documents``, each behind the document and the earlier turns.

    Readers of one document share it, whoever they are; ``documents.zipf`` makes some more popular.
    ``{documents: {count: 1000000}}`` gives everybody nearly a document of his own (as does a chat with
    ``document_tokens``).

    Defaults are those of vLLM's benchmark of long documents: 8 of 20,000 tokens, each asked about twice,
    replies of 100 tokens; questions of 100 tokens (RAGCache's) and a chat's think times.
    """

    kind: Literal["long_documents"]
    documents: Texts = Texts(count=8, tokens=Constant(value=20_000), zipf=0.0)
    """The documents: how many, how long, how popular."""
    turns: Distribution = Constant(value=2)
    """Questions in a session."""
    think_time_s: Distribution = Lognormal(distribution="lognormal", median=100, sigma=1.52)
    """Time between a reply and the next question, s."""
    user_tokens: Distribution = Exponential(distribution="exponential", mean=100)
    """Length of a question, in tokens."""
    reply_tokens: Distribution = Constant(value=100)
    """Length of a reply, in tokens."""
    tenants: int = Field(default=1, gt=0, le=MOST)
    """How many tenants (users or customers) the sessions belong to, drawn evenly."""

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
        documents = drawn(stream(seed, "document"), self.documents.shares(), len(starts)).tolist()
        trace = Trace(messages=True)
        library = Library(trace, self.documents.lengths(seed, "documents"))
        request = 0
        for session, start_s in enumerate(starts):
            at, before = library.behind(ROOT, [documents[session]]), NONE
            trace.system_messages.add(at)
            for turn in range(1, turns[session] + 1):
                before = trace.add(
                    prompt=trace.content.append(at, users[request]),
                    output_tokens=replies[request],
                    arrival_s=start_s if turn == 1 else None,
                    follows=before,
                    think_s=thinks[request] if turn > 1 else 0.0,
                    session=session,
                    turn=turn,
                    tenant=tenants[session],
                )
                at = trace.reply[before]
                request += 1
        self.arrival.apply(trace)
        return trace
