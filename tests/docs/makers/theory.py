"""What intervals are worth (docs/method.md), and what follows from datasheets and rules alone."""

from __future__ import annotations

import tempfile
from pathlib import Path

import yaml

from sim import load_config
from sim.engine.latency import IterationTime
from sim.experiment import load_trace
from sim.hardware import catalogue, estimate
from sim.hardware.roofline import roofline
from tests.docs.examples import ROOT
from tests.docs.made import MOONCAKE, Made, Sentences, percent
from tests.results.test_intervals import covered, narrower

METHOD, MODELS = "docs/method.md", "docs/models.md"
POOL_TOKENS = 15_360_000
FULL = f"kind: radix, capacity_tokens: {POOL_TOKENS}"
WINDOW = (
    f"kind: radix_swa, window: 128, capacity_tokens: {POOL_TOKENS}, window_capacity_tokens: {POOL_TOKENS}"
)
TREES = (
    f"systems={{full: {{kind: cache, cache: {{{FULL}}}}}, window: {{kind: cache, cache: {{{WINDOW}}}}}}}"
)


def _gains() -> dict[str, str]:
    """How many times as exactly the same traffic tells a saving as other traffic would."""
    with tempfile.TemporaryDirectory() as folder:
        figures = ("gpu_busy_seconds", "mean_e2el_ms", "p50_ttft_ms")
        busy, e2e, ttft = narrower(Path(folder), *figures)
    return {"busy": f"{busy:.2g}", "e2e": f"{e2e:.2g}", "ttft": f"{ttft:.2g}"}


def _coverage() -> dict[str, str]:
    holding, _ = covered()
    return {"holding": str(holding), "share": percent(holding / 200)}


def _lower_bound() -> dict[str, str]:
    """A prefill and a decode at the full rates of an H200's datasheet, ms."""
    profile = roofline(catalogue.model("llama-3-8b", Path()), catalogue.gpu("h200"))
    time = IterationTime(profile.coefficients)
    prefill_s = time.fixed_s(512, 1) + time.prefill_s(0, 512)
    decode_s = time.fixed_s(1, 1) + time.decode_s(1, 1024)
    return {"prefill": f"{1e3 * prefill_s:.1f} ms", "decode": f"{1e3 * decode_s:.1f} ms"}


def _pools() -> dict[str, str]:
    """The typical error of KV pools, and that of one whose release is not told."""
    entries = yaml.safe_load((ROOT / "sim/hardware/measured_pools.yaml").read_text("utf-8"))
    [old] = [entry for entry in entries if "version" in entry]
    blocks = estimate._budget(old | {"version": None}).blocks(16)
    errors = [abs(pool.error) for pool in estimate.measured_pools() if not pool.further]
    return {
        "typical": percent(sum(errors) / len(errors), 0),
        "untold": percent(16 * blocks / old["tokens"] - 1, 0),
    }


def _windows() -> dict[str, str]:
    """How many tokens fewer SGLang's tree finds where windows have to be there too."""
    config = load_config(ROOT / "configs/mooncake.yaml", [f"workload.path={MOONCAKE}", TREES])
    trace = load_trace(config)
    full, window = (
        system.run(trace, name, config.folder, lambda done: None).cache_read_input_tokens.sum()
        for name, system in config.systems.items()
    )
    return {"fewer": percent(1 - float(window) / float(full), 0), "pool": f"{POOL_TOKENS:,}"}


MADE: dict[str, Made] = {
    "common random numbers": Sentences(
        METHOD,
        "tests/results/test_intervals.py",
        _gains,
        (
            "the saving in GPU time is known {busy} times as exactly as from independent runs, that in "
            "mean end-to-end latency {e2e} times; the saving in median TTFT hardly gains ({ttft} times)",
        ),
        slow=True,
    ),
    "coverage": Sentences(
        METHOD,
        "tests/results/test_intervals.py",
        _coverage,
        ("each with an interval of its own from one run: {holding} ({share}) hold the true mean",),
        slow=True,
    ),
    "lower bound": Sentences(
        MODELS,
        "sim/hardware/roofline.py",
        _lower_bound,
        ("it gives {prefill} for a prefill of 512 and {decode} for a decode at 1k of context",),
    ),
    "an untold release": Sentences(
        MODELS,
        "tests/sim/test_kv_memory.py",
        _pools,
        ("told none the pool would be {untold} too large",),
    ),
    "KV memory": Sentences(
        "README.md", "python -m sim memory MODEL GPU", _pools, ("an *estimate*, typically {typical} off |",)
    ),
    "windows": Sentences(
        MODELS,
        "radix_swa",
        _windows,
        (
            "roomy pools {fewer} fewer tokens are found with a window of 128 than without (`kind: "
            "cache` with `radix` and with `radix_swa`, {pool} tokens",
        ),
        MOONCAKE,
        slow=True,
    ),
}
