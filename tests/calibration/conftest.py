"""A tiny model, a profile of it, and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.calibration.tiny import TINY

if TYPE_CHECKING:
    from calibration.runner import Runner


@pytest.fixture(scope="session")
def runner() -> Runner:
    """A tiny model on the CPU."""
    from calibration.run import runner_for
    from sim.hardware import catalogue

    return runner_for(catalogue.dense("tiny-1m", Path()), "cpu", "float32", "tiny", 0)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profile of the tiny model, measured in three passes."""
    from calibration.cli import main

    path = tmp_path_factory.mktemp("profile") / "tiny.yaml"
    with pytest.raises(SystemExit) as end:
        main(["run", *TINY, "--passes", "3", "--out", str(path)])
    assert not end.value.code
    return path
