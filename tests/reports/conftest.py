"""Small experiments that the tests of reports look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reports.html import render
from sim.config import load_config
from sim.experiment import run
from sim.result import Result

WORKLOAD = """\
  kind: chat
  sessions: {sessions}
  arrival: {{process: poisson, rate_per_s: 2.0}}
  turns: {{distribution: constant, value: {turns}}}
  think_time_s: {{distribution: constant, value: 1}}
  system_prompt: {{tokens: {system_tokens}, shared_by: all}}
  user_tokens: {{distribution: constant, value: 60}}
  reply_tokens: {{distribution: constant, value: {reply_tokens}}}
"""
ROOFLINE = "latency: {kind: roofline, mfu: 1, mbu: 1}"
"""Uncalibrated times, and short ones."""
GPU = f"kind: engine, model: llama-3-8b, hardware: h200, {ROOFLINE}"
TOKENS = "price: {input_usd_per_1m: 10, cached_input_usd_per_1m: 1, output_usd_per_1m: 30}"
ALL_KINDS = f"""\
  by-the-hour: {{{GPU}, cache: {{kind: block}}, price: {{gpu_hour_usd: 3.5}}}}
  by-the-token: {{{GPU}, cache: {{kind: block}}, {TOKENS}}}
  no-cache: {{{GPU}, cache: {{kind: none}}}}
  replay: {{kind: cache, cache: {{kind: block, block_size: 16}}}}
  hosted: {{kind: provider, provider: anthropic, model: claude-opus-5}}
  priced-replay: {{kind: cache, cache: {{kind: block, block_size: 16}}, {TOKENS}}}
claims:
  - {{system: priced-replay, quantity: input_cost, saved: 0.5, source: a vendor}}
  - {{system: replay, quantity: computed_tokens, saved: 0.99, source: "<b>a</b> [red]blog[/red] & more"}}
  - {{system: no-cache, quantity: input_cost, saved: 0.5, source: nobody}}
"""
Build = Callable[..., Result]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Run an experiment on a small chat; the keywords fill in the workload."""

    def make(
        systems: str, sessions: int = 4, turns: int = 3, system_tokens: int = 50, reply_tokens: int = 40
    ) -> Result:
        workload = WORKLOAD.format(
            sessions=sessions, turns=turns, system_tokens=system_tokens, reply_tokens=reply_tokens
        )
        path: Path = tmp_path_factory.mktemp("config") / "config.yaml"
        path.write_text(f"name: small\nworkload:\n{workload}systems:\n{systems}")
        return run(load_config(path))

    return make


@pytest.fixture(scope="session")
def everything(build: Build) -> Result:
    """Every kind of system and of price, and claims: one holds, one does not, one cannot be told."""
    return build(ALL_KINDS)


@pytest.fixture(scope="session")
def one_request(build: Build) -> Result:
    """A single request with one output token, in an engine and in a replay: nothing to find in a cache."""
    systems = f"  alone: {{{GPU}}}\n  replayed: {{kind: cache, cache: {{kind: block}}}}\n"
    return build(systems, sessions=1, turns=1, reply_tokens=1)


@pytest.fixture(scope="session")
def single_turns(build: Build) -> Result:
    """Requests without history: turns tell nothing apart."""
    return build(f"  engine: {{{GPU}}}\n", sessions=6, turns=1)


@pytest.fixture(scope="session")
def pages(everything: Result, one_request: Result, single_turns: Result) -> dict[str, str]:
    """The HTML page of each of the experiments, by the name of its fixture."""
    results = {"everything": everything, "one_request": one_request, "single_turns": single_turns}
    return {name: render(result) for name, result in results.items()}
