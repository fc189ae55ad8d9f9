"""Batches: the same instructions and examples before many inputs, a request each."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from workloads.content import ROOT
from workloads.generators.generated import Generated
from workloads.generators.texts import Library, Texts
from workloads.lengths import Distribution, Exponential, whole
from workloads.popularity import drawn
from workloads.schema import MOST
from workloads.seeds import stream
from workloads.trace import Trace


class BatchWorkload(Generated):
    """Single requests: one of the ``templates`` (instructions, few-shot examples), then an input.

    With ``arrival: {concurrency: N}`` a client works the batch off with N requests at a time. ``order``:

    - ``mixed``: templates as they are drawn, by their popularity;
    - ``grouped``: all requests of a template one after another. The order in which an LRU cache of any size
      that holds the longest request computes no token twice (Zheng et al., SGLang, NeurIPS 2024);
    - ``in_turn``: a request of each template, then again: what evicts most.

    Defaults are Mooncake's tool and agent trace (FAST 2025): three prompts of 1, 12 and 5 blocks of 512
    tokens before 46, 39 and 15 % of the requests, 3,016 tokens in the mean; inputs of 8,596 tokens with
    them, replies of 182.
    """

    kind: Literal["batch"]
    templates: Texts = Texts(count=3, tokens=Exponential(distribution="exponential", mean=3016), zipf=0.9)
    """The instructions that requests begin with: how many, how long, how popular."""
    order: Literal["mixed", "grouped", "in_turn"] = "mixed"
    """In which order requests come: `mixed`, `grouped` by template, or the templates `in_turn`."""
    input_tokens: Distribution = Exponential(distribution="exponential", mean=5580)
    """Length of what follows the template, in tokens; nobody else sends it."""
    output_tokens: Distribution = Exponential(distribution="exponential", mean=182)
    """Length of a reply, in tokens."""
    tenants: int = Field(default=1, gt=0, le=MOST)
    """How many tenants (users or customers) the sessions belong to, drawn evenly."""

    def build(self, seed: int, folder: Path) -> Trace:
        """Draw the trace; ``folder`` is not used."""
        starts = self.starts_s(seed)
        count = len(starts)
        inputs = whole(self.input_tokens.sample(stream(seed, "input"), count), "workload.input_tokens")
        outputs = whole(self.output_tokens.sample(stream(seed, "output"), count), "workload.output_tokens")
        tenants: list[int] = stream(seed, "tenant").integers(self.tenants, size=count).tolist()
        templates = drawn(stream(seed, "template"), self.templates.shares(), count)
        if self.order == "grouped":
            templates.sort()
        elif self.order == "in_turn":
            templates = np.arange(count) % self.templates.count
        trace = Trace(messages=True)
        library = Library(trace, self.templates.lengths(seed, "templates"))
        for request, (start_s, template) in enumerate(zip(starts, templates.tolist(), strict=True)):
            head = library.behind(ROOT, [template])
            trace.system_messages.add(head)
            trace.add(
                prompt=trace.content.append(head, inputs[request]),
                output_tokens=outputs[request],
                arrival_s=start_s,
                session=request,
                tenant=tenants[request],
            )
        self.arrival.apply(trace)
        return trace
