"""What inputs begin with: right configurations, every shipped file, a sample of every format."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from tests.calibration import layers as made_up_layers
from tests.calibration import synthetic
from tests.sim.bad import GOOD
from tests.sim.small import write_seven, write_small_mooncake
from tests.workloads.one_chat import UNTIMED, WRITERS
from tests.workloads.other_files import ALL
from workloads.documents import Tree

ROOT = Path(__file__).parents[2]
SMALL_LOAD = {"rate_per_s": 2.0, "concurrency": 2}
Data = dict[str, Any]

WORKLOADS: tuple[Data, ...] = (
    {"kind": "chat", "sessions": 3, "arrival": {"rate_per_s": 1}, "turns": 2, "think_time_s": 1,
     "system_prompt": {"tokens": 100}, "user_tokens": 50, "reply_tokens": 5},
    {"kind": "chat", "sessions": 5, "arrival": {"concurrency": 2}, "turns": 3,
     "think_time_s": 0, "tenants": 2,
     "system_prompt": {"tokens": 64, "shared_by": "tenant"}, "user_tokens": 20, "reply_tokens": 30},
    {"kind": "agent", "sessions": 2, "arrival": {"rate_per_s": 0.5}, "calls": 4},
    {"kind": "rag", "sessions": 4, "arrival": {"rate_per_s": 3}},
    {"kind": "batch", "sessions": 4, "arrival": {"rate_per_s": 9}},
    {"kind": "long_documents", "sessions": 2, "arrival": {"rate_per_s": 1}},
    {"kind": "script", "messages": {"a": 50, "b": 30, "c": 9},
     "requests": [{"prompt": ["a"], "reply": "b"}, {"prompt": ["a", "b", "c"], "at_s": 3}]},
    {"kind": "mix", "duration_s": 4, "classes": {
        "one": {"workload": {
            "kind": "chat", "arrival": {"rate_per_s": 0.5}, "turns": 2, "think_time_s": 1}},
        "two": {"workload": {"kind": "batch", "arrival": {"rate_per_s": 0.5}}}}},
    {"kind": "trace", "format": "mooncake", "path": "trace.jsonl"},
)  # fmt: skip
SYSTEMS: tuple[Data, ...] = (
    {"kind": "engine", "model": "llama-3-8b", "hardware": "h200"},
    {"kind": "engine", "model": "llama-3.1-8b", "hardware": "l40s", "replicas": 2, "router": "prefix",
     "price": {"gpu_hour_usd": 1}, "memory": {"kv_blocks": 400}},
    {"kind": "engine", "model": "qwen3-8b", "hardware": "h100-sxm", "engine": {"kind": "sglang"},
     "cache": {"kind": "radix"}, "memory": {"kv_blocks": 5000}},
    {"kind": "engine", "latency": {"kind": "constant", "iteration_s": 0.01}, "memory": {"kv_blocks": 300},
     "deadline_s": 3, "max_queued_requests": 2},
    {"kind": "engine", "model": "llama-3-8b", "hardware": "h200", "memory": {"kv_blocks": 200},
     "cache": {"kind": "tiered",
               "tiers": [{"name": "gpu"}, {"name": "host", "capacity_blocks": 500, "gb_per_s": 20}]}},
    {"kind": "engine", "model": "gpt-oss-20b", "hardware": "h200", "latency": {"kind": "roofline"}},
    {"kind": "engine", "latency": {"profile": "profile.yaml"}, "memory": {"kv_blocks": 999}},
    {"kind": "engine", "model": "model.json", "hardware": "gpu.yaml"},
    {"kind": "cache", "cache": {"kind": "ideal"}},
    {"kind": "cache", "cache": {"kind": "block", "capacity_blocks": 40, "eviction": "lfu"},
     "price": {"input_usd_per_1m": 3, "cached_input_usd_per_1m": 0.3, "output_usd_per_1m": 15}},
    {"kind": "cache", "cache": {"kind": "radix", "capacity_tokens": 700}},
    {"kind": "provider", "provider": "anthropic", "model": "claude-opus-5"},
    {"kind": "provider", "provider": "openai", "model": "gpt-5", "caching": {"key": "session"}},
    {"kind": "provider", "provider": "gemini", "model": "gemini-3.8-flash"},
)  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """A log or trace in one of the formats: where it is, and its files by their place."""

    format: str
    path: str
    files: dict[str, bytes]
    timed: bool = True


@dataclass
class Material:
    """Everything, made in the folder ``home`` when it is first asked for."""

    home: Path
    root: Path = ROOT
    _made: dict[str, bytes] = field(default_factory=dict)

    @cached_property
    def shipped(self) -> dict[str, Data]:
        """The configurations that ship, made small."""
        found = {}
        for path in sorted((self.root / "configs").rglob("*.yaml")):
            data = Tree(path.read_text("utf-8"), path.name).data
            if isinstance(data, dict) and "systems" in data:
                found[str(path.relative_to(self.root))] = _small(data)
        return found

    @cached_property
    def beside(self) -> dict[str, bytes]:
        """Files that configurations name: a trace, a profile, a GPU, a model."""
        folder = self._folder("beside")
        write_seven(folder / "trace.jsonl")
        published = yaml.safe_load((self.root / "tests/fixtures/published_configs.yaml").read_text("utf-8"))
        names = {"profile.yaml": self.profiles[0], "gpu.yaml": self.gpus[0]}
        return {
            "trace.jsonl": (folder / "trace.jsonl").read_bytes(),
            "model.json": json.dumps(
                next(row["config"] for row in published if "smollm3" in str(row).lower())
            ).encode(),
            **names,
        }

    @cached_property
    def profiles(self) -> list[bytes]:
        """Latency profiles: measured ones, and ones that were imported."""
        own = sorted((self.root / "calibration/profiles").glob("*.yaml"))
        imported = sorted((self.root / "sim/hardware/profiles").glob("*.yaml"))
        return [path.read_bytes() for path in (*own, *imported[:3])]

    @cached_property
    def gpus(self) -> list[bytes]:
        """GPUs of the catalogue."""
        return [path.read_bytes() for path in sorted((self.root / "sim/hardware/gpus").glob("*.yaml"))]

    @cached_property
    def models(self) -> list[Data]:
        """config.json of many families."""
        rows = yaml.safe_load((self.root / "tests/fixtures/published_configs.yaml").read_text("utf-8"))
        return [row["config"] for row in rows]

    @cached_property
    def samples(self) -> list[Sample]:
        """A sample of every format."""
        found = []
        every = {
            **WRITERS,
            **{kind: (kind, make) for kind, make in ALL.items()},
        }
        for number, (name, (kind, make)) in enumerate(sorted(every.items())):
            folder = self._folder(f"sample{number}")
            path = make(folder)
            files = {
                str(file.relative_to(folder)): file.read_bytes()
                for file in sorted(folder.rglob("*"))
                if file.is_file()
            }
            found.append(
                Sample(
                    kind, str(path.relative_to(folder)), files, name not in UNTIMED and kind not in UNTIMED
                )
            )
        return found

    @cached_property
    def run(self) -> dict[str, bytes]:
        """The folder of a small run."""
        from sim.cli import main

        folder = self._folder("run")
        (folder / "c.yaml").write_text(json.dumps(GOOD))
        with contextlib.redirect_stdout(None), contextlib.suppress(SystemExit):
            main(["run", str(folder / "c.yaml"), "--out", str(folder / "out"), "--quiet"])
        return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}

    @cached_property
    def bench(self) -> bytes:
        """The result of a benchmark, small."""
        n = 12
        return json.dumps({
            "backend": "vllm", "completed": n, "input_lens": [100 + i for i in range(n)],
            "output_lens": [5] * n, "ttfts": [0.1 + i / 1000 for i in range(n)],
            "itls": [[0.01] * 4] * n, "start_times": [5000 + i / 2 for i in range(n)], "errors": [""] * n,
        }).encode()  # fmt: skip

    @cached_property
    def log(self) -> bytes:
        """A server's log, a line for each iteration."""
        lines = ["INFO 11-20 10:00:00 [kv_cache_utils.py:1] GPU KV cache size: 320,000 tokens\n"]
        for i in range(1, 61):
            prefill = i % 7 == 0
            ms = 9 + i % 5 + 30 * prefill
            lines.append(
                f"(APIServer pid=7) INFO 11-20 10:00:01 [loggers.py:1] Engine 000: Iteration({i}): "
                f"{int(prefill)} context requests, {900 * prefill} context tokens, "
                f"{i % 9} generation requests, {i % 9} generation tokens, "
                f"iteration elapsed time: {ms:.2f} ms, GPU KV cache usage: {0.1 + i / 1000:.1%}\n"
            )
        return "".join(lines).encode()

    @cached_property
    def metrics(self) -> bytes:
        """What a server answers at /metrics."""
        labels = 'engine="0",model_name="m"'
        lines = [
            f"vllm:prefix_cache_queries_total{{{labels}}} 900.0",
            f"vllm:prefix_cache_hits_total{{{labels}}} 300.0",
        ]
        for name in ("time_to_first_token", "request_time_per_output_token", "e2e_request_latency"):
            lines += [
                f'vllm:{name}_seconds_bucket{{le="{le}",{labels}}} {n}.0'
                for le, n in (("0.1", 3), ("1.0", 9), ("+Inf", 9))
            ]
            lines += [
                f"vllm:{name}_seconds_count{{{labels}}} 9.0",
                f"vllm:{name}_seconds_sum{{{labels}}} 2.5",
            ]
        for name in ("request_prompt_tokens", "request_generation_tokens"):
            lines += [
                f'vllm:{name}_bucket{{le="{le}",{labels}}} {n}.0'
                for le, n in (("50", 3), ("200", 9), ("+Inf", 9))
            ]
            lines += [f"vllm:{name}_count{{{labels}}} 9.0", f"vllm:{name}_sum{{{labels}}} 700.0"]
        return ("\n".join(lines) + "\n").encode()

    @cached_property
    def timings(self) -> bytes:
        """Samples of a calibration."""
        path = self._folder("timings") / "s.jsonl"
        synthetic.write(path)
        return path.read_bytes()

    @cached_property
    def shapes(self) -> bytes:
        """Shapes of sessions, fitted to a small trace."""
        from workloads.cli import main

        folder = self._folder("shapes")
        write_small_mooncake(folder / "t.jsonl", sessions=12)
        with contextlib.redirect_stdout(None), contextlib.suppress(SystemExit):
            main(["fit", str(folder / "t.jsonl"), str(folder / "fitted.yaml"), "--seeds", "1"])
        return next(folder.glob("*.parquet")).read_bytes()

    @cached_property
    def layers(self) -> dict[str, bytes]:
        """Tables of layer times."""
        folder = made_up_layers.write(self._folder("layers"))
        return {f"layers/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())}

    def _folder(self, name: str) -> Path:
        folder = self.home / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _small(data: Data) -> Data:
    """The same experiment for a few requests."""
    data = json.loads(json.dumps(data, default=str))
    workload = data["workload"]
    for one in (workload, *(part["workload"] for part in workload.get("classes", {}).values())):
        if one["kind"] == "trace":
            one.clear()
            one |= {"kind": "trace", "format": "mooncake", "path": "trace.jsonl"}
            continue
        if one["kind"] == "mix":
            one["duration_s"] = 20
            continue
        if "duration_s" in one or "sessions" in one:
            one.pop("duration_s", None)
            one["sessions"] = 4
        for key in ("turns", "calls"):
            if key in one and one[key] not in range(5):
                one[key] = 3
    for key in ("warmup_s", "until_s", "seeds"):
        data.pop(key, None)
    text = re.sub(r'"clients": \d+', '"clients": 3', json.dumps(data))
    small: Data = json.loads(text)
    if len(small["systems"]) > 3:
        kept = list(small["systems"])[:3]
        small["systems"] = {name: small["systems"][name] for name in kept}
        small.pop("compare", None)
        small["claims"] = [claim for claim in small.get("claims", []) if claim["system"] in kept]
    return small
