"""transformers' continuous batching: its rules in the simulator, and itself where it is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed (it comes with the test extra)")
pytest.importorskip("sklearn", reason="sklearn is not installed (it comes with the test extra)")


from calibration.third_party import VERSION, Limits, Transformers
from calibration.third_party_report import compare, fitted, simulate
from sim.hardware import catalogue
from sim.hardware.coefficients import Coefficients
from workloads.generators.chat import ChatWorkload
from workloads.trace import Trace

LIMITS = Limits(block_size=16, blocks=300, max_batch_tokens=64, max_requests=64)
ONE_SECOND = Coefficients(step=1.0)
needs_transformers = pytest.mark.skipif(
    find_spec("transformers") is None or find_spec("psutil") is None,
    reason=f"transformers {VERSION} is not installed (pip install -e '.[third-party]')",
)


def _hits(trace: Trace) -> list[int]:
    hits: list[int] = simulate(trace, ONE_SECOND, LIMITS).cache_read_input_tokens.tolist()
    return hits


def _same_prompt(*at: float, tokens: int, output: int) -> Trace:
    trace = Trace()
    prompt = trace.content.append(0, tokens)
    for arrival in at:
        trace.add(prompt=prompt, output_tokens=output, arrival_s=arrival)
    return trace


def test_a_full_hit_computes_one_token() -> None:
    """48 tokens in blocks of 16, all cached: vLLM's rule finds 32, this one 47."""
    assert _hits(_same_prompt(0.0, 10.0, tokens=48, output=3)) == [0, 47]
    assert _hits(_same_prompt(0.0, 10.0, tokens=49, output=3)) == [0, 48]


def test_what_is_being_computed_is_not_found() -> None:
    """Two equal prompts in one step share nothing; one step later everything computed by then."""
    assert _hits(_same_prompt(0.0, 0.0, tokens=30, output=3)) == [0, 0]
    # 64 tokens a step: the other one gets its turn beside tokens 193 to 220, which fill a block then.
    assert _hits(_same_prompt(0.0, 0.5, tokens=220, output=3)) == [0, 192]


def test_the_last_step_of_a_request_is_not_found() -> None:
    """32 tokens answered by one: its blocks were filled in the step in which it finished."""
    assert _hits(_same_prompt(0.0, 10.0, tokens=32, output=1)) == [0, 0]
    assert _hits(_same_prompt(0.0, 10.0, tokens=32, output=2)) == [0, 31]


def _chat(seed: int) -> Trace:
    config = {
        "kind": "chat",
        "sessions": 6,
        "arrival": {"process": "poisson", "rate_per_s": 40.0},
        "turns": 4,
        "think_time_s": {"distribution": "exponential", "mean": 0.1},
        "system_prompt": {"tokens": 64},
        "user_tokens": {"distribution": "lognormal", "mean": 25, "sigma": 0.8},
        "reply_tokens": {"distribution": "lognormal", "mean": 14, "sigma": 0.6},
    }
    trace = ChatWorkload.model_validate(config).build(seed, Path())
    trace.seed = seed
    twin = trace.content.append(trace.content.append(0, 64), 32)
    for at in (3.0, 4.0):  # a prompt that is cached to its end, on a block boundary
        trace.add(prompt=twin, output_tokens=4, arrival_s=at)
    return trace


@pytest.fixture(scope="module")
def engine() -> Transformers:
    return Transformers(catalogue.dense("tiny-1m", Path()), LIMITS)


@needs_transformers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_hits_are_those_of_transformers(engine: Transformers, seed: int) -> None:
    """Hit tokens of every request of a served chat, times and all in its own hands."""
    trace = _chat(seed)
    served = engine.serve(trace)
    compared = compare(trace, served, fitted(served), LIMITS)
    assert compared.real_hits == compared.simulated_hits == served.hit_tokens
    assert compared.steps.mape < 1 and 0.3 < 1 + compared.error("E2E mean") < 3
    assert served.hit_tokens[-1] == 95 and sum(served.hit_tokens) > 1000
    assert not np.isnan(served.finished_s).any()


@needs_transformers
@pytest.mark.filterwarnings("ignore")
def test_without_sharing_nothing_is_found(engine: Transformers) -> None:
    """The engine's own switch."""
    assert set(engine.serve(_chat(1), sharing=False).hit_tokens) == {0}
