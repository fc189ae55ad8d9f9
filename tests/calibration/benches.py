"""Benchmarks of our own making: what the simulator says about a trace, written as vLLM's client writes."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

from calibration.served.matching import match
from calibration.served.measured import MeasuredRun
from calibration.served.numbers import made
from calibration.served.server import Server, load_trace
from sim.results import metrics
from sim.results.records import Records

TRUTH = {"mfu": 0.5, "mbu": 0.8, "kv_factor": 2.0, "request_s": 0.012}
SERVED = ("--model", "llama-3.1-8b", "--gpu", "h100-sxm")


def trace_file(
    path: Path, requests: int = 60, every_s: float = 0.25, most: int = 6000, seed: int = 1
) -> Path:
    """Prompts of 300 to ``most`` tokens, two of three behind a common opening of 640; Poisson arrivals."""
    random = np.random.default_rng(seed)
    at, rows, fresh = 0.0, [], 1000
    for i in range(requests):
        new, output = int(random.integers(300, most)), int(random.integers(10, 120))
        opening = list(range(640)) if i % 3 else []
        tokens = [*opening, *range(fresh, fresh + new + output)]
        fresh += new + output
        rows.append(
            {"id": f"r{i}", "tokens": tokens[:-output], "output_tokens": tokens[-output:], "arrival": at}
        )
        at += float(random.exponential(every_s))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def expanded(requests: Path, trace: Path) -> Path:
    """The token trace of a measured run that names lengths and common prefixes: fresh ids elsewhere."""
    fresh, out = itertools.count(), []
    full: list[list[int]] = []
    for row in map(json.loads, requests.read_text().splitlines()):
        shared = [] if row["shares_with"] is None else full[row["shares_with"]][: row["shares_tokens"]]
        size = row["input_tokens"] + row["output_tokens"]
        ids = [*shared, *(next(fresh) for _ in range(size - len(shared)))]
        full.append(ids)
        prompt, reply = ids[: row["input_tokens"]], ids[row["input_tokens"] :]
        out.append({"tokens": prompt, "output_tokens": reply, "arrival": row["arrival_s"]})
    trace.write_text("".join(json.dumps(row) + "\n" for row in out))
    return trace


def simulated(trace: Path, truth: dict[str, float] = TRUTH) -> Records:
    """The trace on an H100 with the times of ``truth``."""
    server = Server.of("llama-3.1-8b", "h100-sxm", 1, [])
    return server.simulate(load_trace(trace, []), made(server, truth))


def result(records: Records, **other: Any) -> dict[str, Any]:
    """The detailed result of a benchmark that took what ``records`` say; its clock starts at 5,000 s."""
    tpot = np.nan_to_num(metrics.tpot_s(records))
    gaps = zip(tpot.tolist(), records.output_tokens.tolist(), strict=True)
    return {
        "backend": "vllm",
        "completed": len(records),
        "input_lens": records.input_tokens.tolist(),
        "output_lens": records.output_tokens.tolist(),
        "ttfts": metrics.ttft_s(records).tolist(),
        "itls": [[gap] * (output - 1) for gap, output in gaps],
        "start_times": (records.arrival_s + 5000).tolist(),
        "errors": [""] * len(records),
        **other,
    }


def write(path: Path, records: Records, **other: Any) -> Path:
    """That result as a file."""
    path.write_text(json.dumps(result(records, **other)))
    return path


def matched(path: Path, trace: Path) -> MeasuredRun:
    """The run as it is read."""
    from calibration.served import measured

    return match(measured.read(path), load_trace(trace, []))[0]
