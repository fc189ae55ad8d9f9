"""``validate --against``: figures of a served run beside its simulation, as JSON, page and table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from calibration.served.comparison import compare
from calibration.served.numbers import made
from calibration.served.server import Server, load_trace
from reports import files
from sim import load_config, run
from sim.results import metrics
from tests.calibration import benches
from tests.refusing import Cli, refused


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace of 40 requests and the benchmark of it, by numbers that are not the roofline's."""
    folder = tmp_path_factory.mktemp("served")
    trace = benches.trace_file(folder / "trace.jsonl", 40)
    benches.write(folder / "bench.json", benches.simulated(trace))
    return folder


def test_figures_are_those_of_both_runs(served: Path) -> None:
    """Means, percentiles and each request's error against plain numpy; gaps pooled; hits equal."""
    run = benches.matched(served / "bench.json", served / "trace.jsonl")
    server = Server.of("llama-3.1-8b", "h100-sxm", 1, ["latency.kind=roofline"])
    records = server.simulate(load_trace(served / "trace.jsonl", []))
    run.hit_tokens = records.cache_read_input_tokens + (np.arange(40) == 3)
    found = compare(run, records)
    assert list(found.metrics) == ["TTFT", "TPOT", "ITL", "E2E"] and found.requests == 40
    ttft = found.metrics["TTFT"]
    real, mine = run.ttft_s, metrics.ttft_s(records)
    assert ttft.measured_s["mean"] == real.mean() and ttft.predicted_s["p99"] == np.percentile(mine, 99)
    assert ttft.error("p50") == np.median(mine) / np.median(real) - 1 < 0
    assert ttft.request_mape == np.mean(np.abs(mine / real - 1))
    assert run.gaps_s is not None
    assert found.metrics["ITL"].measured_s["p90"] == np.percentile(np.concatenate(run.gaps_s), 90)
    assert found.metrics["ITL"].request_mape is None
    assert found.hits is not None and found.hits.equal == 39
    assert found.hits.measured_tokens == found.hits.predicted_tokens + 1
    half = compare(run, records, np.arange(40) < 10)
    assert "ITL" not in half.metrics and half.metrics["TTFT"].measured_s["mean"] == real[:10].mean()


def test_files_and_table_are_written_quietly_too(served: Path, calibration: Cli) -> None:
    """With the numbers that made it a benchmark is met exactly; the page has four pictures."""
    truth = made(Server.of("llama-3.1-8b", "h100-sxm", 1, []), benches.TRUTH)
    told = {"calibrated": True, "source": "known", "origin": "measured"}
    Path("p.yaml").write_text(truth.model_copy(update=told).to_yaml())
    run = (served / "bench.json", "--trace", served / "trace.jsonl", *benches.SERVED)
    args = ("validate", "--against", *run, "--profile", "p.yaml", "--out", "out")
    loud, quiet = calibration(*args), calibration(*args, "--quiet")
    assert loud.returncode == 0, loud.stderr
    assert loud.stdout == quiet.stdout
    for text in ("TTFT measured", "ITL measured", "requests (40)", "each: mean", "out/validation.html"):
        assert text in quiet.stdout
    found = json.loads(Path("out/validation.json").read_text())
    assert found["profile"]["calibrated"] is True and found["requests"] == 40 and found["hits"] is None
    for name in ("TTFT", "TPOT", "E2E"):
        metric = found["metrics"][name]
        assert metric["error"] == pytest.approx(dict.fromkeys(metric["error"], 0.0), abs=1e-9)
        assert metric["request_error_mean"] < 1e-9
    page = Path("out/validation.html").read_text()
    assert page.count("<svg ") == 4 and "Uncalibrated.</strong>" not in page
    assert page.endswith("</html>\n") and "Times: known" in page


def test_our_own_run_is_met_exactly(served: Path, calibration: Cli) -> None:
    """requests.parquet of a run, held against the same system: no error, the same hits."""
    config = Path("run.yaml")
    config.write_text(
        f"name: own\nworkload: {{kind: trace, format: tokens, path: {served / 'trace.jsonl'}}}\n"
        "systems:\n  mine: {kind: engine, model: llama-3.1-8b, hardware: h100-sxm}\n"
    )
    files.write_requests(run(load_config(config)), Path("requests.parquet"))
    args = ("--trace", served / "trace.jsonl", *benches.SERVED, "--out", "out")
    done = calibration("validate", "--against", "requests.parquet", *args)
    assert done.returncode == 0, done.stderr
    assert "equal on 40 requests" in done.stdout
    found = json.loads(Path("out/validation.json").read_text())
    assert found["hits"]["measured_tokens"] == found["hits"]["predicted_tokens"] > 0
    assert "ITL" not in found["metrics"]
    for metric in found["metrics"].values():
        assert metric["error"] == pytest.approx(dict.fromkeys(metric["error"], 0.0), abs=1e-9)


def test_a_roofline_is_marked(served: Path, calibration: Cli) -> None:
    """Times from the datasheet: too fast, and said so."""
    args = (served / "bench.json", "--trace", served / "trace.jsonl", *benches.SERVED)
    done = calibration("validate", "--against", *args, "--set", "latency.kind=roofline")
    assert done.returncode == 0 and "uncalibrated: times are not measured" in done.stdout
    folder = Path("runs/validation/bench")
    found = json.loads((folder / "validation.json").read_text())
    assert found["profile"]["calibrated"] is False
    assert found["metrics"]["TTFT"]["error"]["mean"] < -0.3
    assert "Uncalibrated.</strong>" in (folder / "validation.html").read_text()


def test_bad_options_are_refused(served: Path, calibration: Cli, tmp_path: Path) -> None:
    """Options of one kind with the other, what is missing, a profile of another model."""
    trace = ("--trace", served / "trace.jsonl")
    against = ("validate", "--against", served / "bench.json", *trace)
    cases: list[tuple[tuple[str | Path, ...], tuple[str, ...]]] = [
        (("validate",), ("--profile is missing; allowed: a measured profile, or --against REQUESTS",)),
        (("validate", "--gpu", "h200"), ("go with --against REQUESTS",)),
        (against, ("--model is missing",)),
        ((*against, *benches.SERVED, "--profile", "no.yaml"), ("no.yaml: no such file",)),
        ((*against, *benches.SERVED, "--out", served / "bench.json"), ("bench.json is not a folder",)),
        (("validate", "--against", "no.json", *benches.SERVED), ("no.json: no such file",)),
    ]
    for args, said in cases:
        refused(calibration, tmp_path, *args, said=said)
