"""What a job is named after, and how finished ones are kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sim.config import load_config
from sim.jobs.job import Job, Outcome
from sim.jobs.runner import Workers, compute
from sim.jobs.store import Store
from tests.jobs.sweeping import CONFIG, written
from tests.sim.small import write_small_mooncake
from workloads.errors import InputError
from workloads.staging import WRITING, place_in, settle


def _name(path: Path, *settings: str) -> str:
    return Job.of(load_config(path, settings)).name


def test_the_name_is_that_of_the_experiment(tmp_path: Path) -> None:
    """Every value counts, the seed included; how the file is written and where it lies do not."""
    path = written(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "other.yaml").write_text("# the same\n" + CONFIG.replace("h200", '"h200"'))
    assert _name(path) == _name(elsewhere / "other.yaml") == _name(path, "seed=1", "systems.own.replicas=1")
    others = [_name(path, setting) for setting in ("seed=2", "systems.own.replicas=2", "slo.ttft_ms=101")]
    assert len({_name(path), *others}) == 4


def test_the_name_is_the_same_in_every_process(tmp_path: Path) -> None:
    """It does not depend on Python's hash seed."""
    path = written(tmp_path)
    code = (
        "from sim.config import load_config; from sim.jobs.job import Job; "
        f"print(Job.of(load_config({str(path)!r})).name)"
    )
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        shown = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, cwd="."
        )
        assert shown.stdout.strip() == _name(path), shown.stderr


def test_the_content_of_a_trace_counts_and_not_its_place(tmp_path: Path) -> None:
    """The same trace in another folder is the same job, another trace in the same place another one."""
    names = []
    for folder, sessions in (("a", 5), ("b", 5), ("b", 6)):
        (tmp_path / folder).mkdir(exist_ok=True)
        write_small_mooncake(tmp_path / folder / "trace.jsonl", sessions)
        workload = "workload={kind: trace, format: mooncake, path: trace.jsonl}"
        config = tmp_path / folder / "small.yaml"
        config.write_text(CONFIG)
        names.append(_name(config, workload))
    assert names[0] == names[1] != names[2]


KILLED = """
import os, sys
from pathlib import Path
from workloads.staging import place_in
with place_in(Path(sys.argv[1])) as place:
    (place / "summary.json").write_text("{")
    os._exit(9)
"""


def test_what_was_being_written_is_cleared(tmp_path: Path, root: Path) -> None:
    """Of processes that are gone; not of those that live, nor of other machines, where nobody knows."""
    env = {**os.environ, "PYTHONPATH": str(root)}
    assert subprocess.run([sys.executable, "-c", KILLED, tmp_path], env=env, check=False).returncode == 9
    (gone,) = tmp_path.iterdir()
    away = tmp_path / f"{WRITING}elsewhere.example.0a1b"
    away.mkdir()
    with place_in(tmp_path) as mine:
        (mine / "summary.json").write_text("{")
        settle(tmp_path / "job")  # as a comparison of two jobs does while a sweep goes on
        compute([], Store(tmp_path), Workers(1), lambda what, done, total: None, "jobs")
        assert [path.exists() for path in (gone, mine, away)] == [False, True, True]


def test_a_job_is_kept_once(tmp_path: Path) -> None:
    """Two processes may finish the same job: the second one leaves what is there."""
    job = Job.of(load_config(written(tmp_path)))
    store = Store(tmp_path / "jobs")
    store.put(job, Outcome(job.name, summary="{}\n", timing="1\n"))
    store.put(job, Outcome(job.name, summary="{}\n", timing="2\n"))
    assert [path.name for path in store.folder.iterdir()] == [job.name]
    assert (store.folder / job.name / "timing.json").read_text() == "1\n"


def test_a_job_that_was_tampered_with_is_named(tmp_path: Path) -> None:
    job = Job.of(load_config(written(tmp_path)))
    store = Store(tmp_path / "jobs")
    store.put(job, Outcome(job.name, summary="{", timing=""))
    with pytest.raises(InputError, match=f"{job.name}.*remove .*and run again"):
        store.summary(job.name)


def test_progress_and_failures(tmp_path: Path) -> None:
    """A job that cannot be served fails alone, is told, and is tried again; a job given twice runs once."""
    path = written(tmp_path)
    good, bad = (Job.of(load_config(path, [f"workload.user_tokens={n}"])) for n in (50, 10**15))
    told: list[tuple[int, int]] = []
    store = Store(tmp_path / "jobs")
    for _ in range(2):
        failed = compute(
            [bad, good, good],
            store,
            Workers(1),
            lambda what, done, total: told.append((done, total)),
            "jobs",
        )
        assert list(failed) == [bad.name]
        assert "workload.user_tokens: draws reach 1e+15" in failed[bad.name]
    assert told == [(0, 2), (1, 2), (2, 2), (1, 2), (2, 2)]
    assert good.name in store and bad.name not in store
