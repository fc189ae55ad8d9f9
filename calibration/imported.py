"""Profiles made of tables that others measured: random steps timed by them, fitted, and others held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata

from calibration import draw, fit, form
from calibration.form import Floats, Offer, Step
from sim.hardware import vllm_memory
from sim.hardware.catalogue import Gpu, Model
from sim.hardware.coefficients import Coefficients
from sim.hardware.evidence import Heldout
from sim.hardware.memory import Memory
from sim.hardware.origin import Serves, Tables
from sim.hardware.parallel import Parallel
from sim.hardware.profile import Profile
from sim.hardware.roofline import roofline
from workloads.errors import InputError

FITTED, HELD_OUT = 900, 300
"""Steps."""
BLOCK = 16
"""Tokens."""
LEAST_KV_TOKENS = 4096
REQUEST_S, DEPTH = 4.8e-3, 0.25
"""What a client of vLLM's server waits beside the iterations of its request: s of parsing, tokenising and
sending, and steps.

Of 43 loads of dense models on H100, A100 and L40S with mostly cached prompts: TTFT = 2.8 steps + 4.8 ms, to
2.5 % on average (public measurements, November 2026). The scheduler makes 2.55 steps of the 2.8: half of
one that is under way, one that is scheduled already, and the request's own, which is longer."""
HOST_STEP_S, HOST_SEQUENCE_S = 1.3e-3, 43e-6
"""What vLLM's host adds to a step that is not scheduled ahead, and for each of its sequences.

Of ten loads of Qwen3 32B on two H100 with vLLM 0.12, prompts of 1,024 tokens: measured less simulated time
per token, a line over 8 to 128 requests at a time (`benchmarks/server_aggregates.py`)."""
Times = Callable[[Sequence[Step]], Floats]
"""Seconds of steps by the tables."""


def build(
    times: Times,
    model: Model,
    gpu: Gpu,
    parallel: Parallel,
    *,
    limits: draw.Limits,
    uneven: bool,
    without: tuple[str, ...],
    tables: Tables,
    more: Coefficients = Coefficients(),  # noqa: B008
    seed: int = 0,
) -> Profile:
    """The profile of ``model`` on GPUs in parallel, fitted to what ``times`` says of random steps.

    Of other random steps its errors are kept, beside those of the roofline. ``uneven``: the tables tell
    decodes of uneven lengths apart. ``more``: what the tables leave out, added to the step and per token.
    """
    peak = roofline(model, gpu, parallel=parallel).coefficients
    training = draw.steps(limits, FITTED, seed, "fitted steps", uneven=uneven)
    heldout = draw.steps(limits, HELD_OUT, seed, "held-out steps", uneven=uneven)
    found = _fitted(training, times(training), Offer.like(peak, without))
    target = times(heldout)
    predicted = form.seconds(found, heldout)
    whole = {"step": found.step + more.step, "link": found.link + more.link, "request": REQUEST_S}
    whole["depth"] = DEPTH
    whole |= {"host_step": HOST_STEP_S, "host_sequence": HOST_SEQUENCE_S}
    return Profile(
        id=_name(model, gpu, parallel),
        calibrated=True,
        origin="imported",
        source=f"fitted to {FITTED} steps made of tables that others measured: {tables.tables}",
        coefficients=found.model_copy(update=whole),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        tool_version=metadata.version("prefixsim"),
        serves=Serves.of(model, gpu, parallel),
        tables=tables,
        domain=form.domain(training),
        heldout=Heldout(
            errors=fit.errors(predicted, target),
            by_family=fit.by_family(predicted, target, [draw.family(step) for step in heldout]),
            baselines={"roofline": fit.errors(form.seconds(peak, heldout), target)},
        ),
    )


def _fitted(steps: Sequence[Step], t_s: Floats, offer: Offer) -> Coefficients:
    """The better of two fits, with ``link`` and without.

    What GPUs send grows with new tokens as products of many rows do: where both are offered either may
    take the other's place, and a term of the weights that is nearly nothing can no longer be corrected.
    """
    fits = [form.fit(steps, t_s, offer)]
    if "link" not in offer.without:
        fits.append(form.fit(steps, t_s, replace(offer, without=(*offer.without, "link"))))
    return min(fits, key=lambda found: fit.errors(form.seconds(found, steps), t_s).mape)


def kv_tokens(model: Model, gpu: Gpu, parallel: Parallel, tokens: int, sequences: int) -> int:
    """What the KV pool of vLLM would hold at these batch limits: more cannot be in one step."""
    budget = vllm_memory.budget(
        model,
        gpu,
        Memory(),
        max_num_batched_tokens=tokens,
        max_num_seqs=sequences,
        parallel=parallel,
    )
    tokens = budget.blocks(BLOCK) * BLOCK
    if tokens < LEAST_KV_TOKENS:
        raise InputError(
            f"--model: {model.name} leaves {max(0, tokens):,} tokens of KV on {parallel} {gpu.name}; "
            f"allowed: at least {LEAST_KV_TOKENS:,} (more GPUs with --tp, or a smaller model)"
        )
    return tokens


def _name(model: Model, gpu: Gpu, parallel: Parallel) -> str:
    several = f"{parallel.gpus} x " if parallel.gpus > 1 else ""
    served = model.dtype if model.quantization == "none" else model.quantization
    return f"{several}{gpu.name}, {model.name}, {served}"
