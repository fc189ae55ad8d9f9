"""A job: one resolved configuration with one seed, named by the hash of both."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from sim.config import Config
from workloads.errors import InputError

NAME_DIGITS = 20
"""Hexadecimal digits of a name, 80 bits: a million jobs share one with a chance of 1 in 10**12."""


@dataclass(frozen=True, slots=True)
class Job:
    """A run that is to be done once, whoever asks for it."""

    name: str
    config: Config

    @staticmethod
    def of(config: Config) -> Job:
        """The job of a resolved configuration.

        Its name follows from every value of the configuration, the seed included, from the content of every
        file that it reads (wherever that lies), and from the version of this package.
        """
        what = {"version": metadata.version("prefixsim"), "config": config.values(_digest)}
        text = json.dumps(what, sort_keys=True, allow_nan=False)
        return Job(hashlib.sha256(text.encode()).hexdigest()[:NAME_DIGITS], config)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job: its summary and how long it took, or why there is none."""

    name: str
    summary: str = ""
    """JSON, the same bytes wherever it was computed."""
    timing: str = ""
    """JSON: the seconds that it took."""
    error: str = ""
    """Bad input that only the run could find, such as a request that does not fit into memory."""


def execute(job: Job) -> Outcome:
    """Run the experiment; bad input and too little memory are outcomes, any other error is a defect."""
    from sim.experiment import run

    try:
        result = run(job.config)
        summary = result.summary()
    except InputError as error:
        return Outcome(job.name, error=str(error))
    except MemoryError:
        return Outcome(job.name, error="not enough memory; make the workload smaller")
    return Outcome(job.name, _json(summary), _json(result.timing()))


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def _digest(path: str) -> str:
    """What a file or folder holds, as text; empty where it cannot be read, which the run will say."""
    try:
        if Path(path).is_dir():
            inside = sorted(file for file in Path(path).rglob("*") if file.is_file())
            held = [f"{file.relative_to(path)} {_digest(str(file))}" for file in inside]
            return hashlib.sha256("\n".join(held).encode()).hexdigest()
        state = Path(path).stat()
        return _digest_of(path, state.st_mtime_ns, state.st_size)
    except OSError:
        return ""


@lru_cache(maxsize=64)
def _digest_of(path: str, mtime_ns: int, size: int) -> str:
    """The digest of a file in a given state, computed once however many jobs read it."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
