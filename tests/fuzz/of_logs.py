"""Traces and logs in every format, damaged."""

from __future__ import annotations

import json
from copy import deepcopy
from random import Random

from tests.fuzz.case import Case
from tests.fuzz.material import SYSTEMS, Data, Material, Sample
from tests.fuzz.of_configs import CONFIG, base, varied, with_files
from tests.fuzz.text import mangled
from tests.fuzz.tree import changed


def damaged(draw: Random, sample: Sample) -> dict[str, bytes]:
    """Its files with something wrong in one of them: bytes, or values of its rows."""
    files = dict(sample.files)
    name = draw.choice(list(files))
    content = files[name]
    if draw.random() < 0.5 and not name.endswith((".parquet", ".csv")):
        files[name] = rows_of(draw, content)
    elif draw.random() < 0.9:
        files[name] = mangled(draw, content, draw.choice([1, 1, 2, 5]))
    return files


def rows_of(draw: Random, content: bytes) -> bytes:
    """JSON or JSON Lines with odd values."""
    try:
        whole = json.loads(content)
    except ValueError:
        try:
            rows = [json.loads(line) for line in content.splitlines() if line]
        except ValueError:
            return mangled(draw, content)
        place = draw.randrange(len(rows)) if rows else 0
        rows[place : place + 1] = [
            changed(draw, row, draw.choice([1, 1, 2])) for row in rows[place : place + 1]
        ]
        return "\n".join(json.dumps(row, default=str) for row in rows).encode() + b"\n"
    return json.dumps(changed(draw, whole, draw.choice([1, 1, 2])), default=str).encode()


def traces(draw: Random, material: Material) -> Case:
    """A damaged trace, described, converted or run."""
    sample = draw.choice(material.samples)
    files = damaged(draw, sample)
    named = ["--format", sample.format] if draw.random() < 0.7 else []
    if not sample.timed:
        named += ["--set", "arrival={process: closed_loop, concurrency: 2}"]
    if draw.random() < 0.3:
        named += ["--skip-bad-lines", draw.choice(["1", "3", "1000"])]
    command = draw.choice(["describe", "describe", "json", "convert", "anonymise", "run", "run", "fit"])
    if command == "describe":
        return Case("workloads", ["describe", sample.path, *named], files)
    if command == "json":
        return Case("workloads", ["describe", sample.path, "--json", *named], files)
    if command == "fit" and draw.random() < 0.2:
        return Case("workloads", ["fit", sample.path, "fitted.yaml", "--seeds", "1", *named], files)
    if command in ("convert", "anonymise"):
        to = draw.choice(["parquet", "mooncake", "tokens"])
        out = {"parquet": "o.parquet"}.get(to, "o.jsonl")
        return Case("workloads", [command, sample.path, out, "--to", to, *named], files)
    workload: Data = {"kind": "trace", "format": sample.format, "path": sample.path}
    if not sample.timed:
        workload["arrival"] = {"concurrency": 2}
    data = {"name": "fuzz", "workload": workload, "systems": {"one": deepcopy(draw.choice(SYSTEMS))}}
    return Case("experiment", [CONFIG], {**with_files(material, data), **files})


def made(draw: Random, material: Material) -> Case:
    """A generated workload, written as a trace."""
    data = varied(draw, base(draw, material), draw.choice([0, 1, 2]))
    to = draw.choice(["parquet", "mooncake", "tokens"])
    args = ["generate", CONFIG, {"parquet": "o.parquet"}.get(to, "o.jsonl"), "--to", to]
    return Case("workloads", args, with_files(material, data))


def doctor(draw: Random, material: Material) -> Case:
    """A damaged log before the doctor."""
    sample = draw.choice(material.samples)
    args = ["doctor", sample.path, "--json"]
    if draw.random() < 0.7:
        args += ["--format", sample.format]
    if draw.random() < 0.5:
        args += [
            "--provider",
            draw.choice(["anthropic", "openai", "gemini", "x"]),
            "--model",
            "claude-opus-5",
        ]
    return Case("sim", args, damaged(draw, sample))
