"""Writes what a live server has served as the folder of a run."""

from __future__ import annotations

from pathlib import Path

from sim.results.summary import Summary
from sim.server.recording import TRAFFIC, result_of
from sim.server.system import LiveSystem


def write_run(live: LiveSystem, folder: Path) -> Summary:
    """Write what ``python -m sim run`` writes, and the traffic, into ``folder``, all or none; the summary.

    ``live`` has been stopped. ``python -m sim run FOLDER/config.yaml`` serves the same traffic again.
    InputError if no request came, or if the folder cannot be written to.
    """
    from reports import files

    result = result_of(live, folder)
    summary = result.summary()
    files.write(result, summary, folder, TRAFFIC)
    return summary
