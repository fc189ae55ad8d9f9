"""Iteration times of mixtures, latents, windows and states: by hand, by naive sums, and run by run."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.engine.latency import IterationTime, pairs_seen, run_s
from sim.hardware import catalogue
from sim.hardware.gpu import Gpu
from sim.hardware.parallel import ONE_GPU, Parallel
from sim.hardware.profile import Coefficients, Window
from sim.hardware.roofline import roofline
from tests.engine.comparing import REALISTIC, chat, same_gaps, same_records, same_totals
from tests.engine.driving import fleet_of
from tests.engine.driving_sglang import sglang_fleet

GPU = Gpu(
    name="round figures", memory_mib=80_000, memory_bandwidth_gb_per_s=1000, bf16_tflops=100,
    fp8_tflops=200, fp4_tflops=400, source="made up",
)  # fmt: skip


def coefficients(name: str, parallel: Parallel = ONE_GPU, **options: str) -> Coefficients:
    """Of a model of the catalogue on GPUs of round figures: 1 TB/s, 100 TFLOP/s."""
    return roofline(catalogue.model(name, Path(), **options), GPU, parallel=parallel).coefficients


def test_experts_that_a_batch_touches() -> None:
    """Qwen3 30B A3B: 48 layers of 128 experts of 3 x 2048 x 768, of which a token meets 8."""
    c = coefficients("qwen3-30b-a3b")
    experts = 48 * 128 * 3 * 2048 * 768
    rest = 48 * (2048 * 128 * (32 + 4 + 4 + 32) + 2048 * 128)
    head = 2048 * 151_936
    assert c.experts == pytest.approx(2 * experts / 1e12)
    assert c.floor == pytest.approx(2 * (rest + head) / 1e12)
    assert c.touched == pytest.approx(8 / 128)
    assert c.token == pytest.approx(2 * (rest + experts / 16) / 1e14)
    time = IterationTime(c)
    for tokens in (1, 8, 64):
        read = c.floor + c.experts * (1 - (1 - 1 / 16) ** tokens)
        assert time.fixed_s(tokens, tokens) == pytest.approx(read + c.sequence * tokens)
    assert time.fixed_s(8192, 1) == pytest.approx(8192 * c.token + c.sequence)


def test_quantised_weights_and_kv() -> None:
    """fp8: half the bytes and twice the rate; mxfp4: 4.25 bits, products in 16; the KV on its own."""
    wide, narrow = coefficients("qwen3-30b-a3b"), coefficients("qwen3-30b-a3b-fp8")
    blocks = 1 + 4 / 128**2
    assert narrow.experts == pytest.approx(wide.experts * blocks / 2)
    routers = 2 * 48 * 2048 * 128
    assert narrow.token == pytest.approx((wide.token - routers / 1e14) / 2 + routers / 1e14)
    assert narrow.decode_kv == wide.decode_kv == pytest.approx(98_304 / 1e12)
    half = coefficients("qwen3-30b-a3b-fp8", kv_cache_dtype="fp8")
    assert half.decode_kv == pytest.approx(49_152 / 1e12)
    oss = coefficients("gpt-oss-20b")
    biases = 24 * 32 * 2 * (2 * 2880 + 2880)
    assert oss.experts == pytest.approx((24 * 32 * 3 * 2880**2 * 4.25 / 8 + biases) / 1e12)
    attention = 24 * (2880 * 64 * (64 + 8 + 8) + 64 * 64 * 2880 + 2880 * 32)
    assert oss.token == pytest.approx(2 * (attention + 24 * 4 * 3 * 2880**2) / 1e14)


def test_latent() -> None:
    """MLA: a prefill computes with heads of 192 and 128, a decode with the latent of 576 and 512."""
    c = coefficients("deepseek-v3")
    assert c.pair == pytest.approx(61 * 2 * 128 * (192 + 128) / 1e14)
    assert c.prefill_kv == pytest.approx(61 * 1152 / 1e12)
    assert c.decode_kv == pytest.approx(61 * 2 * 128 * (576 + 512) / 1e14), "longer than reading it"
    eight = coefficients("deepseek-v3", Parallel(tensor=8, expert=8))
    assert eight.pair == pytest.approx(c.pair / 8)
    assert eight.prefill_kv == c.prefill_kv, "each GPU reads all of it"
    assert eight.decode_kv == pytest.approx(61 * 1152 / 1e12), "an eighth of the heads: reading is longer"
    assert eight.experts == pytest.approx(c.experts / 8)
    ranks = coefficients("deepseek-v3", Parallel(data=8, expert=8))
    assert ranks.experts == pytest.approx(c.experts / 8)
    assert ranks.touched == pytest.approx(1 - (1 - 8 / 256) ** 8), "by the tokens of eight ranks"
    assert ranks.floor == c.floor and ranks.decode_kv == c.decode_kv


def test_windows_and_choices() -> None:
    """What is bounded is no part of the growing terms."""
    c = coefficients("gemma-3-27b")
    assert c.decode_kv == pytest.approx(10 * 2 * 16 * 128 * 2 / 1e12)
    [window] = c.windows
    assert (window.tokens, window.chunked) == (1024, False)
    assert window.decode_kv == pytest.approx(52 * 2 * 16 * 128 * 2 / 1e12)
    assert window.pair == pytest.approx(52 * 4 * 32 * 128 / 1e14)
    [chunk] = coefficients("llama-4-scout").windows
    assert (chunk.tokens, chunk.chunked) == (8192, True)
    sparse = coefficients("deepseek-v3.2", Parallel(tensor=8))
    scores = 61 * 2 * 64 * 128 / 1e14  # the indexer looks at all tokens, on every GPU: longer than reading
    assert sparse.decode_kv == pytest.approx(scores)
    assert sparse.prefill_kv == pytest.approx(61 * 132 / 1e12)
    [chosen] = sparse.windows
    assert (chosen.tokens, chosen.chunked) == (2048, False)
    assert chosen.decode_kv == pytest.approx(61 * 1152 / 1e12)
    states = coefficients("qwen3.5-27b")
    model = catalogue.model("qwen3.5-27b", Path())
    head = 2 * 2 * 5120 * 248_320 / 2 / 1e14
    assert states.sequence == pytest.approx(head + 2 * model.state_bytes_per_request / 1e12)


SIZES = st.integers(1, 40)


@given(st.integers(0, 100), SIZES, SIZES, st.booleans())
def test_pairs_one_by_one(cached: int, new: int, size: int, chunked: bool) -> None:
    """Token number i sees min(i + 1, size) tokens, or those of its chunk."""
    seen = [i % size + 1 if chunked else min(i + 1, size) for i in range(cached, cached + new)]
    assert pairs_seen(cached, new, size, chunked) == sum(seen)


@given(st.integers(1, 9), st.integers(0, 400), st.lists(st.tuples(SIZES, st.booleans()), max_size=3))
def test_runs_of_decodes_are_single_steps(
    decodes: int, context: int, windows: list[tuple[int, bool]]
) -> None:
    """As far as `growth` lets them go, and they do not stop short of a change."""
    parts = [Window(tokens=n, chunked=chunked, decode_kv=n) for n, chunked in windows]
    time = IterationTime(Coefficients(decode_kv=1, windows=parts))
    slope, steps = time.growth(decodes, context, 100)
    assert 1 <= steps <= 100
    first = time.decode_s(decodes, context)
    each = [time.decode_s(decodes, context + decodes * j) for j in range(steps)]
    assert run_s(first, slope, steps) == pytest.approx(sum(each), rel=1e-12)


MIXED = REALISTIC.model_copy(
    update={
        "experts": 4e-3,
        "touched": 0.05,
        "windows": [
            Window(tokens=128, pair=2e-10, prefill_kv=1e-8, decode_kv=6e-8),
            Window(tokens=256, chunked=True, pair=2e-10, prefill_kv=1e-8, decode_kv=5e-8),
        ],
    }
)
"""Contexts of `chat` lie on both sides of the windows."""


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_fleet_by_runs_and_by_steps(asynchronous: bool) -> None:
    """vLLM's replica: the same records, totals and gaps, though runs end where a window is full."""
    trace = chat(3)
    fast, slow = (
        fleet_of(
            trace, blocks=400, coefficients=MIXED, asynchronous=asynchronous, fast_forward=forward
        ).run()
        for forward in (True, False)
    )  # fmt: skip
    same_records(fast, slow)
    same_totals(fast, slow)
    same_gaps(fast, slow)


@pytest.mark.parametrize("disable_overlap_schedule", [True, False])
def test_an_sglang_fleet_by_runs_and_by_steps(disable_overlap_schedule: bool) -> None:
    """SGLang's replica, too."""
    trace = chat(4)
    fast, slow = (
        sglang_fleet(
            trace,
            pages=6000,
            coefficients=MIXED,
            disable_overlap_schedule=disable_overlap_schedule,
            fast_forward=forward,
        ).run()
        for forward in (True, False)
    )
    same_records(fast, slow)
    same_totals(fast, slow)
