"""Iteration times of mixtures, latents, windows and states: by hand, by naive sums, and run by run."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.engine.latency import IterationTime, pairs_seen, run_s
from sim.hardware import catalogue
from sim.hardware.coefficients import Coefficients, Window
from sim.hardware.gpu import Gpu
from sim.hardware.parallel import ONE_GPU, Parallel
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


def by_hand(
    *,
    read: float,
    experts: float = 0.0,
    touched: float = 0.0,
    flop_16: float,
    flop_8: float = 0.0,
    head_flop: float,
    pair_flop: float,
    kv_bytes: float,
) -> Coefficients:
    """Bytes at 1 TB/s, FLOP at 100 TFLOP/s in 16 bit and at 200 in 8."""
    return Coefficients(
        floor=read / 1e12,
        experts=experts / 1e12,
        touched=touched,
        token=flop_16 / 1e14 + flop_8 / 2e14,
        sequence=head_flop / 1e14,
        pair=pair_flop / 1e14,
        prefill_kv=kv_bytes / 1e12,
        decode_kv=kv_bytes / 1e12,
    )


def same_terms(found: Coefficients, wanted: Coefficients) -> None:
    """Every term that both have, but for the windows."""
    for name in ("floor", "experts", "touched", "token", "sequence", "pair", "prefill_kv", "decode_kv"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name), rel=1e-9), name


def test_gpt_oss_120b_by_hand() -> None:
    """36 layers of width 2880: 64 heads of 64, 8 of keys; 4 of 128 experts of 2880, in 4.25 bits."""
    d, q, kv = 2880, 64 * 64, 8 * 64
    attention, biases = d * q + 2 * d * kv + q * d, q + 2 * kv + d
    router, expert, head = d * 128, 3 * d * d, d * 201_088
    wanted = by_hand(
        read=2 * (36 * (attention + biases + router + 128) + head),
        experts=36 * 128 * (expert * 4.25 / 8 + 2 * 3 * d),
        touched=4 / 128,
        flop_16=2 * 36 * (attention + router + 4 * expert),
        head_flop=2 * head,
        pair_flop=18 * 4 * q,
        kv_bytes=18 * 2 * kv * 2,
    )
    found = coefficients("gpt-oss-120b")
    same_terms(found, wanted)
    [window] = found.windows
    assert (window.tokens, window.pair, window.decode_kv) == (128, found.pair, found.decode_kv)


def test_qwen3_30b_a3b_fp8_by_hand() -> None:
    """48 layers of width 2048: 32 heads of 128, 4 of keys; 8 of 128 experts of 768; 8 bit, a scale of 4
    bytes for each 128 x 128."""
    d, q, kv, eight = 2048, 32 * 128, 4 * 128, 1 + 4 / 128**2
    attention, router = d * q + 2 * d * kv + q * d, d * 128
    expert, head = 3 * d * 768, d * 151_936
    wanted = by_hand(
        read=48 * (attention * eight + 2 * router) + 2 * head,
        experts=48 * 128 * expert * eight,
        touched=8 / 128,
        flop_16=2 * 48 * router,
        flop_8=2 * 48 * (attention + 8 * expert),
        head_flop=2 * head,
        pair_flop=48 * 4 * q,
        kv_bytes=98_304,
    )
    same_terms(coefficients("qwen3-30b-a3b-fp8"), wanted)


def test_deepseek_v3_by_hand() -> None:
    """61 layers of width 7168, 3 of them dense; 128 heads over a latent of 512 + 64; 8 of 256 experts of
    2048 and a shared one. On each of 8 GPUs an eighth, but for the ways down to the latents and the router.
    """
    d, eight = 7168, 1 + 4 / 128**2
    down_q, down_kv = d * 1536, d * 576
    up = 1536 * 128 * 192 + 512 * 128 * (128 + 128) + 128 * 128 * d
    dense, shared, router, head = 3 * d * 18_432, 3 * d * 2048, d * 256, d * 129_280
    scales = (d // 128) * (5 - 4.5) * 4  # the last row of blocks of the 576 is half empty
    wanted = by_hand(
        read=61 * ((down_q + down_kv + up / 8) * eight + scales)
        + (3 * dense + 58 * shared) / 8 * eight
        + 58 * 2 * router
        + 2 * head / 8,
        experts=58 * 256 / 8 * shared * eight,
        touched=8 / 256,
        flop_16=2 * 58 * router,
        flop_8=2 * (61 * (down_q + down_kv + up / 8) + (3 * dense + 58 * 9 * shared) / 8),
        head_flop=2 * head / 8,
        pair_flop=61 * 2 * 16 * (192 + 128),
        kv_bytes=61 * 576 * 2,
    )
    same_terms(coefficients("deepseek-v3", Parallel(tensor=8, expert=8)), wanted)


def test_gemma_3_27b_by_hand() -> None:
    """62 layers of width 5376, 10 of them full: 32 heads of 128, 16 of keys; the output head is tied."""
    d, q, kv = 5376, 32 * 128, 16 * 128
    layer, head = d * q + 2 * d * kv + q * d + 3 * d * 21_504, d * 262_208
    wanted = by_hand(
        read=2 * (62 * layer + head),
        flop_16=2 * 62 * layer,
        head_flop=2 * head,
        pair_flop=10 * 4 * q,
        kv_bytes=10 * 2 * kv * 2,
    )
    same_terms(coefficients("gemma-3-27b"), wanted)


def test_a_prefill_and_a_decode_by_hand() -> None:
    """Qwen3 30B in fp8 on an H200 (4.8 TB/s, 1979 TFLOP/s in 8 bit): bytes and FLOP of two iterations."""
    gpu = catalogue.gpu("h200")
    assert (gpu.memory_bandwidth_gb_per_s, gpu.fp8_tflops, gpu.bf16_tflops) == (4800, 1979, 989)
    time = IterationTime(roofline(catalogue.model("qwen3-30b-a3b-fp8", Path()), gpu).coefficients)
    experts, rest, router, head = (
        48 * 128 * 3 * 2048 * 768,
        48 * 2048 * 128 * 72,
        48 * 2048 * 128,
        2048 * 151_936,
    )
    eight = 1 + 4 / 128**2
    flop_s = 8192 * 2 * ((rest + experts / 16) / 1979e12 + router / 989e12)
    pairs_s = 8192 * 8193 / 2 * 48 * 4 * 32 * 128 / 989e12
    prefill = time.fixed_s(8192, 1) + time.prefill_s(0, 8192)
    assert prefill == pytest.approx(flop_s + pairs_s + 8192 * 98_304 / 4.8e12 + 2 * head / 989e12, rel=1e-6)
    read = experts * eight * (1 - (15 / 16) ** 32) + rest * eight + 2 * router + 2 * head
    decode = time.decodes_s(32, 32 * 4095)
    assert decode == pytest.approx((read + 32 * 4096 * 98_304) / 4.8e12 + 32 * 2 * head / 989e12, rel=1e-6)


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
    _, slope, steps = time.run(decodes, context, 0, 100)
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
