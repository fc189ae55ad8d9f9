"""Random iterations as serving makes them: what tables of measured times are asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration.form import Step
from workloads.seeds import stream

SPREADS = (0.0, 0.4, 0.8, 1.1)
"""Of the decodes' contexts, a log-normal's sigma: from equal ones to those of logged chats."""
FARTHEST = 4.0
"""A context is at most so many times the mean: as far as tables of uneven lengths go."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The box in which steps are drawn."""

    sequences: int
    tokens: int
    """New tokens of a step."""
    context: int
    """Mean context of the decodes, and cached tokens of a prefill."""
    kv_tokens: int
    """Tokens in KV after a step, all sequences together."""


def steps(limits: Limits, count: int, seed: int, name: str, *, uneven: bool) -> list[Step]:
    """``count`` steps: 40 % decodes alone, 45 % decodes beside a prefill, 15 % a prefill alone.

    Sizes are log-uniform; two prefills of five have nothing cached. ``uneven``: decodes of one step have
    contexts of different lengths.
    """
    random = stream(seed, name)

    def between(low: float, high: float) -> float:
        return float(np.exp(random.uniform(np.log(low), np.log(high))))

    found: list[Step] = []
    while len(found) < count:
        kind = random.random()
        decodes = context = longest = 0
        prefills: tuple[tuple[int, int], ...] = ()
        if kind >= 0.15:
            decodes = int(between(1, limits.sequences + 0.99))
            mean = between(48, limits.context)
            spread = float(random.choice(SPREADS)) if uneven else 0.0
            drawn = np.exp(random.normal(np.log(mean) - spread * spread / 2, spread, decodes))
            contexts = np.clip(drawn, 16, FARTHEST * mean).astype(int)
            context, longest = int(contexts.sum()), int(contexts.max())
        if kind < 0.6 and limits.tokens - decodes > 8:
            cached = 0 if random.random() < 0.4 else int(between(16, limits.context))
            prefills = ((cached, int(between(8, limits.tokens - decodes))),)
        step = Step(prefills, decodes, context, decodes * longest - context)
        if step.sequences and step.kv_tokens <= limits.kv_tokens:
            found.append(step)
    return found


def family(step: Step) -> str:
    """Prefill, decode or mixed."""
    if not step.decodes:
        return "prefill"
    return "mixed" if step.prefills else "decode"
