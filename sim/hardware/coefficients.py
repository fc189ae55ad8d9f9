"""The time of one engine iteration as a function of its batch, and of which batches that is known."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt

from workloads.schema import Schema

Seconds = Annotated[float, Field(ge=0, le=1e6)]
"""Of an iteration, or of a token or a sequence in it."""


class Window(Schema):
    """KV of which a token sees the last ``tokens`` only, or those of its chunk of so many."""

    tokens: PositiveInt
    chunked: bool = False
    pair: Seconds = Field(default=0, description="s per (new, seen) token pair of a prefill")
    prefill_kv: Seconds = Field(default=0, description="s per KV token read in a prefill")
    decode_kv: Seconds = Field(default=0, description="s per KV token read in a decode")


class Coefficients(Schema):
    """Seconds per unit of each quantity of an iteration (docs/models.md derives the form).

    For a batch of B sequences with T new tokens in all, sequence i having h_i tokens in KV and n_i
    new ones:

        t = step + c(T) * (read^p + (token * T)^p)^(1/p) + sequence * B
            with read = floor + experts * (1 - (1 - touched)^T)
            + sum over k of hinges[k] * min(T, k) + sum over k of sequence_hinges[k] * min(B, k)
            + pair * sum over prefills of n_i * (h_i + (n_i + 1) / 2)
            + rectangle * sum over prefills of n_i * (h_i + n_i)
            + prefill_kv * sum over prefills of (h_i + n_i) + prefill * (number of prefills)
            + decode_kv * sum over decodes of (h_i + 1) + uneven * D * (longest h_i - mean h_i)
            + beside * D + beside_token * D * P + beside_kv * sum over decodes of (h_i + 1)
            + link * T

    with D decodes, and with the three of ``beside`` only in iterations that also have prefills, of P new
    tokens together. ``pair``, ``prefill_kv`` and ``decode_kv`` come again for each of ``windows``, with
    what is seen of h_i: in a prefill exactly, in decodes as if each had their mean. ``p`` = None stands
    for the limit: the larger of ``read`` and ``token * T``. An expert is read if one of T tokens is sent
    to it: with 8 of 128 each, 8 for one token and 51 for 8 tokens, on average (routed evenly).

    Decodes beside a prefill cost more than alone where one kernel does both: it cuts their single query up
    like a chunk of a prompt. Decodes of uneven lengths keep few processors busy with the longest of them:
    with contexts of 100, 100 and 400 tokens, D * (longest - mean) is 3 * (400 - 200) = 600 tokens. While
    the batch stays the same it does not change, so a run of decode iterations keeps its closed form.

    c(T) corrects the weights' term for how well products of T rows fill the GPU: ``correction`` has it at
    some T, between them it is a line in log T, beyond them constant; 1 without.

    Asynchronous scheduling hides the host's work behind the GPU's; without it ``host_step`` and
    ``host_sequence`` are added to ``step`` and ``sequence``.

    ``request`` and ``depth`` are no part of an iteration: the client sees each reply begin and end later by
    ``request`` and by ``depth`` times what the reply's tokens take on average.
    """

    step: Seconds = Field(default=0, description="s per iteration")
    floor: Seconds = Field(default=0, description="s to read the weights once")
    experts: Seconds = Field(default=0, description="s to read all routed experts once")
    touched: float = Field(default=0, ge=0, le=1, description="share of the experts that one token needs")
    token: Seconds = Field(default=0, description="s of compute per new token")
    p: float | None = Field(default=None, ge=1, le=15, description="sharpness of the knee between the two")
    correction: dict[PositiveInt, PositiveFloat] = Field(
        default={}, description="factor of the weights' term at so many new tokens"
    )
    sequence: Seconds = Field(default=0, description="s per sequence in the batch")
    pair: Seconds = Field(default=0, description="s per causal (new, earlier) token pair")
    rectangle: Seconds = Field(
        default=0, description="s per (new, any) token pair, where a dense mask computes them all"
    )
    prefill_kv: Seconds = Field(default=0, description="s per KV token read in a prefill")
    prefill: Seconds = Field(default=0, description="s per prefill in the batch")
    decode_kv: Seconds = Field(default=0, description="s per KV token read in a decode")
    decode_pair: Seconds = Field(
        default=0,
        description="s of compute per (new, KV token) pair of a decode that verifies drafts, where that is "
        "longer than reading",
    )
    hinges: dict[PositiveInt, Seconds] = Field(
        default={}, description="s per new token up to the k-th: small products run other kernels (CPU)"
    )
    sequence_hinges: dict[PositiveInt, Seconds] = Field(
        default={}, description="s per sequence up to the k-th: the output head's product is small too"
    )
    uneven: Seconds = Field(
        default=0, description="s per KV token by which the decodes fall short of the longest of them"
    )
    beside: Seconds = Field(default=0, description="s per decode beside prefills, more than alone")
    beside_token: Seconds = Field(
        default=0, description="s per decode beside prefills and new prompt token in the iteration"
    )
    beside_kv: Seconds = Field(
        default=0, description="s per KV token read in a decode beside prefills, more than alone"
    )
    link: Seconds = Field(
        default=0, description="s per new token of what GPUs send to each other; its latency is in step"
    )
    host_step: Seconds = Field(
        default=0, description="s per iteration of the host's work, where no step is scheduled ahead"
    )
    host_sequence: Seconds = Field(
        default=0, description="s per sequence of the host's work, where no step is scheduled ahead"
    )
    request: Seconds = Field(
        default=0, description="s per request that its client sees and that no iteration takes"
    )
    depth: float = Field(
        default=0, ge=0, le=100, description="steps after its own in which a client sees a token"
    )
    windows: list[Window] = Field(default=[], description="layers that see a part of the context only")

    def synchronous(self) -> Coefficients:
        """Those of an engine that schedules a step when the one before is over."""
        whole = {"step": self.step + self.host_step, "sequence": self.sequence + self.host_sequence}
        return self.model_copy(update={**whole, "host_step": 0.0, "host_sequence": 0.0})


def _ordered(ends: tuple[int, int]) -> tuple[int, int]:
    if ends[0] > ends[1]:
        raise ValueError("allowed: [least, most]")
    return ends


Range = Annotated[tuple[NonNegativeInt, NonNegativeInt], AfterValidator(_ordered)]


class Domain(Schema):
    """The box of iterations that was measured; predictions outside of it are extrapolated."""

    tokens: Range = Field(description="new tokens in the iteration")
    sequences: Range = Field(description="sequences in the iteration")
    cached: Range = Field(description="tokens in KV before a prefill")
    kv_tokens: Range = Field(description="tokens in KV after the iteration, all sequences together")
