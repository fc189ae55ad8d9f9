"""What a program calls: an experiment as ``python -m sim run`` runs it, without its files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sim.config import Config, load_config
from sim.experiment import Progress
from sim.result import Result
from sim.studies.seeds import run_seeds


def run(config: Config | Path | str | Mapping[str, Any], progress: Progress | None = None) -> Result:
    """Run the experiment, under each of its ``seeds``. Writes nothing.

    ``config`` is what `load_config` returns, or what it takes. ``progress`` is called with the part of the
    run, the requests done in it and those in all. With several ``seeds`` figures are means with the
    intervals of the seeds; the request table is that of the first.
    """
    loaded = config if isinstance(config, Config) else load_config(config)
    return run_seeds(loaded, progress or (lambda part, done, total: None))
