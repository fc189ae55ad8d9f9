"""The stated speed: 100,000 requests through four providers in ten seconds after loading."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sim import load_config
from sim.experiment import load_trace


@pytest.mark.slow
def test_100_000_requests_through_four_providers(root: Path) -> None:
    """Ten seconds of this process's own time, so that other load on the machine does not count."""
    config = load_config(root / "configs/bench/providers.yaml")
    trace = load_trace(config)
    assert len(trace) == 100_000
    assert len(config.systems) == 4
    start = time.process_time()
    for name, system in config.systems.items():
        system.run(trace, f"systems.{name}", config.folder, lambda done: None)
    assert time.process_time() - start < 10
