"""A folder of finished jobs. Each is written whole or not at all, so a kill at any time loses none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sim.jobs.job import Job, Outcome
from workloads.errors import InputError
from workloads.staging import place_in


class Store:
    """``FOLDER/NAME/`` for every finished job: config.yaml, summary.json and timing.json.

    A job is written beside its place and moved there by one rename. Several processes, on one machine or on
    a shared file system, may use the same folder at once; a job that two of them finish is kept once.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __contains__(self, name: str) -> bool:
        return (self.folder / name).is_dir()

    def put(self, job: Job, outcome: Outcome) -> None:
        """Keep a job that succeeded."""
        texts = {
            "config.yaml": job.config.to_yaml(),
            "summary.json": outcome.summary,
            "timing.json": outcome.timing,
        }
        self.keep(job.name, {name: text.encode() for name, text in texts.items()})

    def keep(self, name: str, contents: dict[str, bytes]) -> None:
        """Keep what came of the job ``name``, by file name."""
        try:
            with place_in(self.folder) as place:
                for file, content in contents.items():
                    (place / file).write_bytes(content)
                place.rename(self.folder / name)
        except OSError as error:
            if name not in self:
                raise InputError(
                    f"{self.folder}: {error.strerror}; allowed: a folder to write to"
                ) from None

    def summary(self, name: str) -> Any:
        """The summary of a finished job, without wall-clock times."""
        path = self.folder / name / "summary.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise InputError(f"{path}: not as it was written; remove {path.parent} and run again") from None
