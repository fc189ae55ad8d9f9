"""``from-bench``: numbers that made a benchmark are found; real runs are met; bad files are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from calibration.served import bench, measured
from calibration.served.comparison import Comparison
from calibration.served.matching import match
from calibration.served.server import Server, load_trace
from sim.hardware.profile import load
from tests.calibration import benches
from tests.refusing import Cli, refused
from workloads.checking import check
from workloads.errors import InputError


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace whose requests hardly meet, and the benchmark of it."""
    folder = tmp_path_factory.mktemp("calm")
    trace = benches.trace_file(folder / "trace.jsonl", 24, every_s=8.0, most=30_000)
    benches.write(folder / "bench.json", benches.simulated(trace))
    return folder


def test_the_numbers_that_made_a_benchmark_are_found(calm: Path, calibration: Cli) -> None:
    """All four within 1 %, from half of 24 requests, and the other half within 0.1 %."""
    args = (calm / "bench.json", "--trace", calm / "trace.jsonl", *benches.SERVED, "--out", "p.yaml")
    done = calibration("from-bench", *args)
    assert done.returncode == 0, done.stderr
    for text in ("fitted to a benchmark", "kv_factor", "held-out requests (12)", "TTFT", "Written: p.yaml"):
        assert text in done.stdout
    profile = load(Path("p.yaml"))
    assert profile.bench is not None and profile.calibrated
    assert profile.bench.parameters == pytest.approx(benches.TRUTH, rel=0.01)
    assert all(abs(error) < 0.001 for error in profile.bench.heldout_errors.values())
    assert profile.source.startswith(
        "fitted to a benchmark: bench.json, 12 requests; the other 12: TTFT mean"
    )
    assert profile.origin == "fitted" and profile.serves is not None
    assert (profile.serves.model, profile.serves.gpu) == ("Meta Llama 3.1 8B", "NVIDIA H100 SXM 80GB")


def test_a_fit_that_describes_nothing_is_not_called_calibrated(calm: Path) -> None:
    """An H100's times cannot be those of an L4, whatever share of its figures is reached."""
    server = Server.of("llama-3.1-8b", "l4", 1, [])
    run, sent = match(measured.read(calm / "bench.json"), load_trace(calm / "trace.jsonl", []))
    fitted = bench.fit(server, run, sent)
    assert not fitted.profile.calibrated
    assert fitted.profile.note().startswith("uncalibrated: times are fitted to a benchmark: bench.json")
    faster, missed = fitted.notes[-2:]
    assert faster.startswith("mfu and mbu = 1: the server was faster than the figures of NVIDIA L4")
    assert missed.startswith("the fit misses what it was fitted to by up to")


def test_they_are_found_under_load_too(tmp_path: Path) -> None:
    """Requests that queue and share steps: within 2 %, the other half within 0.5 %."""
    trace = benches.trace_file(tmp_path / "trace.jsonl", 60, every_s=0.4)
    path = benches.write(tmp_path / "bench.json", benches.simulated(trace))
    server = Server.of("llama-3.1-8b", "h100-sxm", 1, [])
    run, sent = match(measured.read(path), load_trace(trace, []))
    assert run.ttft_s.mean() > 0.1, "they queue"
    fitted = bench.fit(server, run, sent)
    assert fitted.found.values == pytest.approx(benches.TRUTH, rel=0.02) and not fitted.found.untold
    for name in ("TTFT", "TPOT", "E2E"):
        assert abs(fitted.heldout.error(f"{name} mean")) < 0.005


def test_a_table_of_ours_says_the_same_as_a_result(calm: Path, tmp_path: Path) -> None:
    """Two files of one run, one with names and hits; rows in another order, one not completed."""
    records = benches.simulated(calm / "trace.jsonl")
    rows = [
        {
            "system": "one",
            "request_id": f"r{i}",
            "arrival_s": float(records.arrival_s[i]) + 7,
            "input_tokens": int(records.input_tokens[i]),
            "output_tokens": int(records.output_tokens[i]),
            "cache_read_input_tokens": int(records.cache_read_input_tokens[i]),
            "first_token_s": float(records.first_token_s[i]) + 7,
            "finished_s": float(records.finished_s[i]) + 7,
            "status": "completed",
        }
        for i in range(len(records))
    ]
    twin = [{**row, "system": "one/no-cache", "finished_s": 1e6} for row in rows]
    rows[5].update(status="timed_out", finished_s=None, first_token_s=None)
    path = tmp_path / "requests.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*twin, *rows[::-1]]))
    run, trace = match(measured.read(path), load_trace(calm / "trace.jsonl", []))
    other = benches.matched(calm / "bench.json", calm / "trace.jsonl")
    left = np.arange(len(records)) != 5
    assert run.ttft_s == pytest.approx(other.ttft_s[left]) and run.e2e_s == pytest.approx(other.e2e_s[left])
    assert len(trace) == len(records) - 1 and "1 of 24 requests failed" in run.notes[0]
    assert run.hit_tokens is not None
    assert run.hit_tokens.tolist() == records.cache_read_input_tokens[left].tolist()
    check(trace)
    whole = measured.read(path)
    for ending in ("csv", "parquet"):
        table, other_path = pd.DataFrame([*twin, *rows[::-1]]), tmp_path / f"requests.{ending}"
        table.to_csv(other_path, index=False) if ending == "csv" else table.to_parquet(other_path)
        again = measured.read(other_path)
        assert again.names == whole.names and again.hit_tokens is not None
        for name in ("arrival_s", "input_tokens", "output_tokens", "ttft_s", "e2e_s"):
            assert getattr(again, name) == pytest.approx(getattr(whole, name), nan_ok=True)


def test_what_a_trace_does_not_say_comes_from_the_result(calm: Path, tmp_path: Path) -> None:
    """A chat template of 9 tokens; replies of another length; hits only where content is shared."""
    records = benches.simulated(calm / "trace.jsonl")
    lens = (records.input_tokens + 9).tolist()
    outputs = [5, *records.output_tokens.tolist()[1:]]
    path = benches.write(tmp_path / "b.json", records, input_lens=lens, output_lens=outputs)
    run, trace = match(measured.read(path), load_trace(calm / "trace.jsonl", []))
    assert [note.split(": ")[1] for note in run.notes] == [
        "every prompt has 9 tokens more than in trace.jsonl; they are left out",
        "1 of 24 replies have another length than in trace.jsonl",
    ]
    assert trace.output_tokens == outputs and trace.input_tokens == records.input_tokens.tolist()
    check(trace)
    server = Server.of("llama-3.1-8b", "h100-sxm", 1, [])
    hits = server.simulate(trace).cache_read_input_tokens
    assert hits.tolist() == records.cache_read_input_tokens.tolist() and hits.sum() > 0
    alone = measured.read(path)
    assert server.simulate(match(alone, alone.lengths())[1]).cache_read_input_tokens.sum() == 0


def test_an_answer_without_tokens_is_none(tmp_path: Path) -> None:
    """As in a benchmark's result, whatever the row's status says."""
    path = tmp_path / "requests.jsonl"
    row = {"arrival_s": 0, "input_tokens": 3, "first_token_s": 1, "last_token_s": 2}
    path.write_text("".join(json.dumps(row | {"output_tokens": tokens}) + "\n" for tokens in (0, 5)))
    run = measured.read(path)
    assert run.completed.tolist() == [False, True] and "1 of 2 requests failed" in run.notes[0]
    assert match(run, run.lengths())[1].output_tokens == [5]


def test_whole_sessions_are_held_out(calm: Path) -> None:
    """Sessions in the order of their starts, until half of the requests are there, later turns too."""
    trace = load_trace(calm / "trace.jsonl", [])
    trace.session = [0, 1, 0, 2, *[3] * 8, *[0] * 2, *[4] * 10]
    assert bench.earlier_half(trace).tolist() == [True] * 14 + [False] * 10
    trace.session = [0] * 24
    with pytest.raises(InputError, match="all requests are of one session"):
        bench.earlier_half(trace)


def _fit_real(shared_data: Path, tmp_path: Path, name: str, gpu: str, settings: list[str]) -> Comparison:
    folder = shared_data / "real_runs" / "vllm_019_runs"
    path = benches.expanded(folder / f"{name}.requests.jsonl", tmp_path / "trace.jsonl")
    limits = ["engine.max_num_batched_tokens=2048", 'engine.version="0.19"', *settings]
    server = Server.of("llama-3.1-8b", gpu, 1, limits)
    run, trace = match(measured.read(folder / f"{name}.requests.jsonl"), load_trace(path, []))
    fitted = bench.fit(server, run, trace)
    assert fitted.heldout.requests == 150
    return fitted.heldout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "gpu", "settings"),
    [
        ("rtxpro6000.llama-3.1-8b.tp1", "rtx-pro-6000", ["engine.max_num_seqs=128"]),
        ("rtx4090.llama-3.1-8b.tp1", "rtx-4090", ["engine.max_num_seqs=256", "memory.kv_blocks=2588"]),
    ],
)
def test_half_of_a_real_run_predicts_the_other(
    shared_data: Path, tmp_path: Path, name: str, gpu: str, settings: list[str]
) -> None:
    """vLLM 0.19 on real GPUs: means and p99 of the 150 requests that were held out within 3 %."""
    heldout = _fit_real(shared_data, tmp_path, name, gpu, settings)
    for metric in ("TTFT", "TPOT", "E2E"):
        for statistic in ("mean", "p99"):
            assert abs(heldout.error(f"{metric} {statistic}")) < 0.03, (metric, statistic)


# -- what is refused -----------------------------------------------------------------------------------


def test_bad_results_are_refused(calm: Path, calibration: Cli, tmp_path: Path) -> None:
    """Another trace's result, fields that lack, lists of another length, times that are none."""
    good = json.loads((calm / "bench.json").read_text())
    lens = good["input_lens"]
    bare = {key: value for key, value in good.items() if key not in ("input_lens", "ttfts", "itls")}
    cases = [
        ({**good, "input_lens": [*lens[:3], lens[3] + 1, *lens[4:]]}, ("request 3 has",)),
        ({key: value[:-1] if isinstance(value, list) else value for key, value in good.items()},
         ("23 requests, trace.jsonl has 24", "allowed: the trace that was sent")),
        ({**bare, "mean_ttft_ms": 3.0}, ("input_lens is missing: saved without --save-detailed",)),
        ({key: value for key, value in good.items() if key != "itls"}, ("itls is missing",)),
        ({**good, "ttfts": good["ttfts"][:-1]}, ("ttfts = [", "a list of 24 entries")),
        ({**good, "ttfts": [-1.0, *good["ttfts"][1:]]}, ("request 0: ttfts = -1.0",)),
        ({**good, "itls": [["x"], *good["itls"][1:]]}, ("request 0: itls = ['x']",)),
        ({**good, "errors": ["lost"] * 24}, ("no request was answered to the end",)),
        ({**good, "errors": ["lost"] * 10 + [""] * 14}, ("14 answered requests; allowed: at least 20",)),
    ]  # fmt: skip
    path = tmp_path / "b.json"
    for data, said in cases:
        path.write_text(json.dumps(data))
        args = ("from-bench", path, "--trace", calm / "trace.jsonl", *benches.SERVED)
        refused(calibration, tmp_path, *args, said=(f"{path}", *said))
    path.write_text(json.dumps(good)[:-40])
    refused(calibration, tmp_path, "from-bench", path, *benches.SERVED, said=("not JSON",))
    path.write_text("")
    refused(
        calibration, tmp_path, "from-bench", path, *benches.SERVED, said=("no requests", "--save-detailed")
    )
    path.write_text('{"id": 3, "arrival_s": 0, "input_tokens": 3, "output_tokens": 2}\n')
    refused(
        calibration, tmp_path, "from-bench", path, *benches.SERVED, said=(":1: first_token_s is missing",)
    )
    row = (
        '{"arrival_s": 0, "input_tokens": 3, "output_tokens": 2, "first_token_s": 1, "last_token_s": %s}\n'
    )
    for value in ("1e308", "NaN", '"x"', "-1", "true"):
        path.write_text(row % value)
        said = (":1: last_token_s = ", "allowed: 0 to 1e+10 s")
        refused(calibration, tmp_path, "from-bench", path, *benches.SERVED, said=said)
    path.write_text(
        '{"arrival_s": 2, "input_tokens": 3, "output_tokens": 2, "first_token_s": 1, "last_token_s": 3}\n'
    )
    refused(
        calibration, tmp_path, "from-bench", path, *benches.SERVED, said=("arrival_s = 2", "in this order")
    )


def test_bad_options_are_refused(calm: Path, calibration: Cli, tmp_path: Path) -> None:
    """Names that are none, settings that are none, a profile that exists."""
    path, trace = calm / "bench.json", ("--trace", calm / "trace.jsonl")
    there = tmp_path / "there.yaml"
    there.touch()
    cases = [
        (("--gpu", "h100-sxm"), ("--model is missing",)),
        (("--model", "llama-3.1-8b"), ("--gpu is missing",)),
        (("--model", "llama-9", "--gpu", "h100-sxm"), ("--model = 'llama-9'", "did you mean")),
        (("--model", "llama-3.1-8b", "--gpu", "h300"), ("--gpu = 'h300'", "h100-sxm")),
        ((*benches.SERVED, "--tp", "3"), ("tensor_parallel = 3 does not divide",)),
        ((*benches.SERVED, "--set", "engine.max_seqs=3"), ("--set engine", "unknown key 'max_seqs'")),
        ((*benches.SERVED, "--set", "engine"), ("--set engine: allowed: KEY=VALUE",)),
        ((*benches.SERVED, "--set", "engine.max_model_len=400"), ("do not complete", "max_model_len")),
        ((*benches.SERVED, "--trace-set", "format=tea"), ("--trace-set", "'tea'")),
        ((*benches.SERVED, "--system", "two"), ("--system two",)),
        ((*benches.SERVED, "--out", there), ("there.yaml: allowed: a new file name",)),
        ((*benches.SERVED, "--out", "p.json"), ("--out p.json: allowed: a new file name ending in .yaml",)),
    ]  # fmt: skip
    for args, said in cases:
        refused(calibration, tmp_path, "from-bench", path, *trace, *args, said=said)
    missing = tmp_path / "no.json"
    refused(calibration, tmp_path, "from-bench", missing, *benches.SERVED, said=("no.json: no such file",))
    refused(
        calibration, tmp_path, "from-bench", path, "--trace", "no", *benches.SERVED, said=("no such file",)
    )
