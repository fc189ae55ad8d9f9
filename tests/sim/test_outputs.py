"""What the commands write is what the types say, key by key, and docs/outputs.md is made from them."""

from __future__ import annotations

import json
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pyarrow.parquet as pq
import pytest

from calibration.served.against import hold_against
from calibration.served.server import Server, load_trace
from reports import files, validation
from reports.outputs_page import FILES, page
from sim import Result, load_config, run
from sim.doctor.diagnose import diagnose
from sim.doctor.examine import examine
from sim.doctor.outcome import Diagnosis
from sim.doctor.what_if import price
from sim.hardware.profile import load
from sim.jobs.runner import Workers
from sim.results.about import described, is_record
from sim.studies import capacity, habits, sweep
from sim.studies.axes import parse
from sim.studies.fewest_gpus import fewest_gpus
from sim.studies.goals import Goal, limits_of
from sim.studies.tuning import Wanted, search
from tests.calibration import benches
from tests.doctor.logs import FIRST, billed_file, call
from tests.jobs.sweeping import written

RUNS = {
    "habits": ["studies/habits.yaml", "workload.sessions=20"],
    "claims": ["studies/claims-chat.yaml", "workload.sessions=20"],
    "isolation": ["studies/isolation.yaml", "workload.sessions=20"],
    "tiers": ["studies/tiers.yaml", "workload.sessions=20"],
    "failures": ["studies/failures.yaml", "workload.sessions=20"],
    "eviction": ["studies/eviction.yaml", "workload.sessions=20"],
    "intervals": ["studies/eviction.yaml", "workload.duration_s=200", "workload.think_time_s=3"],
    "drafts": ["studies/speculation.yaml", "workload.sessions=10"],
    "closed": [
        "quickstart.yaml",
        "workload.duration_s=null",
        "workload.sessions=60",
        "workload.arrival={process: closed_loop, concurrency: 4}",
    ],
    "steps": ["quickstart.yaml", "workload.sessions=5", "systems.vllm-h200.record_steps=true"],
}
"""Shipped configurations that between them write every key."""
Seen = set[tuple[str, str]]
"""(name of a type, key) of what was met."""


def _mismatches(value: Any, kind: Any, path: str, seen: Seen) -> list[str]:
    """Where ``value``, as read from JSON, is not of type ``kind``."""
    origin, inner = get_origin(kind), get_args(kind)
    if is_record(kind) and isinstance(value, dict):
        fields = {field.key: field for field in described(kind)}
        seen.update((kind.__name__, key) for key in value)
        wrong = [f"{path}.{key}: not described" for key in value.keys() - fields.keys()]
        wrong += [f"{path}.{key}: missing" for key in fields if fields[key].always and key not in value]
        within = [(value[key], fields[key].kind, f"{path}.{key}") for key in value if key in fields]
    elif origin in (Union, UnionType):
        tries = [_mismatches(value, part, path, seen) for part in inner]
        return min(tries, key=len)
    elif origin is dict and isinstance(value, dict):
        wrong, within = [], [(value[key], inner[1], f"{path}.{key}") for key in value]
        within += [(key, inner[0], f"{path}, key {key}") for key in value]
    elif origin in (list, tuple) and isinstance(value, list):
        wrong, within = [], [(item, inner[0], f"{path}[]") for item in value]
    elif kind is Any or (origin is Literal and value in inner) or _is(value, kind):
        return []
    else:
        return [f"{path}: {value!r:.40} is no {kind}"]
    return wrong + [text for args in within for text in _mismatches(*args, seen)]


def _is(value: Any, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, float | int) and not isinstance(value, bool)
    return kind in (int, str, bool, NoneType) and type(value) is kind


def _records(kind: Any) -> set[Any]:
    """The typed dictionaries within ``kind``, itself included."""
    own = {kind} if is_record(kind) else set()
    parts = [field.kind for field in described(kind)] if own else get_args(kind)
    return own.union(*(_records(part) for part in parts))


@pytest.fixture(scope="module")
def results(root: Path) -> dict[str, Result]:
    """Each of ``RUNS``, small."""
    return {
        name: run(load_config(root / "configs" / config, settings))
        for name, (config, *settings) in RUNS.items()
    }


@pytest.fixture(scope="module")
def outputs(
    root: Path, results: dict[str, Result], tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[str, Any]]:
    """(name of the file, its content) of every JSON file that a command writes."""
    capacities = load_config(
        root / "configs/studies/capacity.yaml",
        ["workload.duration_s=20", "workload.turns=1", "slo.share=0.5"],  # few requests will do
    )
    chats = load_config(root / "configs/studies/habits.yaml", ["workload.sessions=4"])
    return [
        *(("summary.json", result.summary()) for result in results.values()),
        *(("timing.json", result.timing()) for result in results.values()),
        ("capacity.json", capacity.study(capacities, 0.2, _quietly).summary()),
        ("habits.json", habits.study(chats, _quietly).summary()),
        ("sweep.json", _swept(tmp_path_factory.mktemp("sweep")).summary()),
        *_searched(tmp_path_factory.mktemp("search")),
        *_validated(tmp_path_factory.mktemp("validation")),
        ("doctor.json", _diagnosed(tmp_path_factory.mktemp("doctor"))),
    ]


def _diagnosed(folder: Path) -> Diagnosis:
    """Forty lanes of three calls, the second of which comes too late."""
    later = [call(900, 6400, 0, [[1, 100]]), call(960, 6400, 6400, [[1, 100]])]
    log = examine(billed_file(folder, *[[FIRST, *later]] * 40))
    return diagnose(log, price(log), invoice_usd=10.0)


def _swept(folder: Path) -> sweep.Sweep:
    """A point that works, and one whose memory is too small."""
    fixed, axes = parse(["systems.own.memory.kv_blocks=1,5000"], None)
    plan = sweep.Plan.of(sweep.Experiment(written(folder), tuple(fixed), 2), axes)
    failed = plan.compute(folder, Workers(1), _quietly, (1, 1))
    return plan.finish(folder, failed, [], ("cost_usd_total", "p99_ttft_ms"))


def _searched(folder: Path) -> list[tuple[str, Any]]:
    """Both kinds of search, each over a point that works and one whose memory is too small."""
    fixed, axes = parse(["systems.own.memory.kv_blocks=1,5000"], None)
    experiment = sweep.Experiment(written(folder), tuple(fixed), 1)
    limits = limits_of(experiment.first(axes), [])
    runs = sweep.Runs(folder, Workers(1), _quietly)
    wanted = Wanted(experiment, axes, None, [Goal.parse("cost_usd_total")], limits)
    return [
        ("search.json", search(wanted, 2, runs).summary()),
        ("fewest-gpus.json", fewest_gpus(experiment, axes, None, limits, 2, runs).summary()),
    ]


def _validated(folder: Path) -> list[tuple[str, Any]]:
    """A run with hits beside its simulation, and what a real engine's run would be."""
    trace = benches.trace_file(folder / "trace.jsonl", 20)
    server = Server.of("llama-3.1-8b", "h100-sxm", 1, [])
    run = benches.matched(benches.write(folder / "b.json", benches.simulated(trace)), trace)
    run.hit_tokens = run.input_tokens // 2
    against = hold_against(server, run, load_trace(trace, []))
    profile = load(next((Path(__file__).parents[2] / "calibration" / "profiles").glob("*.yaml")))
    figures = {"steps, sum": 1.0} | {
        f"{name} {which}": 1.0 for name in ("TTFT", "TPOT", "E2E") for which in ("mean", "p50", "p99")
    }
    made = SimpleNamespace(
        seed=1, load=0.6, cache=True, busy_share=0.6, requests=3, hits_equal=3, real_hits=9,
        simulated_hits=9, steps=SimpleNamespace(mape=0.1), drift=(0.0, 0.1), real_s=figures,
        simulated_s=figures, error=lambda name: 0.0,
    )  # fmt: skip
    return [
        ("validation.json", validation.of_requests(against)),
        ("engine-validation.json", validation.of_engine(profile, [made])),  # type: ignore[list-item]
    ]


def _quietly(part: str, done: int, total: int | None) -> None:
    """Progress that nobody sees."""


def test_json_is_as_described(outputs: list[tuple[str, Any]]) -> None:
    """Every key that is written is described with its type, and every described key is written."""
    seen: Seen = set()
    wrong = []
    for name, content in outputs:
        wrong += _mismatches(json.loads(json.dumps(content, allow_nan=False)), FILES[name], name, seen)
    assert wrong == []
    records = set().union(*(_records(FILES[name]) for name in FILES if name.endswith(".json")))
    assert {(record.__name__, field.key) for record in records for field in described(record)} == seen


def test_columns_are_as_described(results: dict[str, Result], tmp_path: Path) -> None:
    """Each Parquet file is written by some run, and has the described columns in their order."""
    writers = {
        "requests.parquet": files.write_requests,
        files.STEPS: files.write_steps,
        files.SAMPLES: files.write_samples,
    }
    for name, write in writers.items():
        for result in results.values():
            write(result, tmp_path / name)
        assert pq.read_schema(tmp_path / name).names == [field.key for field in described(FILES[name])]


def test_page_is_up_to_date(root: Path) -> None:
    """After a change of an output: make docs."""
    assert (root / "docs" / "outputs.md").read_text(encoding="utf-8") == page()


def test_every_field_has_a_meaning() -> None:
    """One sentence that ends, and a unit for every number with one."""
    for name, record in FILES.items():
        for part in _records(record):
            assert part.__doc__, part
            for field in described(part):
                assert field.about.text.endswith("."), (name, field)
                if field.key.endswith(("_ms", "_s", "_usd", "_tokens")):
                    assert field.about.unit, (name, field)
