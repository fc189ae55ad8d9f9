"""Models, GPUs, profiles, and what a server's benchmarks, logs and metrics say, damaged."""

from __future__ import annotations

import json
from copy import deepcopy
from random import Random

from tests.fuzz.case import Case
from tests.fuzz.material import SYSTEMS, WORKLOADS, Material
from tests.fuzz.odd import odd
from tests.fuzz.of_configs import CONFIG, config_file, yaml_changed
from tests.fuzz.of_logs import rows_of
from tests.fuzz.text import mangled
from tests.fuzz.tree import changed


def models(draw: Random, material: Material) -> Case:
    """What fits: a model's config.json and a GPU of one's own, changed."""
    config = changed(draw, draw.choice(material.models), draw.choice([0, 1, 1, 2, 3]))
    content = json.dumps(config, default=str).encode()
    gpu = draw.choice(material.gpus)
    if draw.random() < 0.3:
        content = mangled(draw, content)
    if draw.random() < 0.5:
        gpu = yaml_changed(draw, gpu)
    args = ["memory", draw.choice(["m.json", "m.json", "llama-3.1-8b"]), draw.choice(["g.yaml", "h200"])]
    if draw.random() < 0.3:
        args += draw.choice(
            [
                ["--context", str(odd(draw))[:50]],
                ["--dtype", "fp8"],
                ["--engine", "sglang"],
                ["--share", "0.5"],
            ]
        )
    return Case("sim", args, {"m.json": content, "g.yaml": gpu})


def profiles(draw: Random, material: Material) -> Case:
    """A changed profile: shown, compared, run with."""
    mine = yaml_changed(draw, draw.choice(material.profiles))
    files = {"profile.yaml": mine}
    sort = draw.randrange(3)
    if sort == 0:
        return Case("calibration", ["show", "profile.yaml"], files)
    if sort == 1:
        return Case(
            "calibration",
            ["compare", "profile.yaml", "other.yaml"],
            {**files, "other.yaml": material.profiles[0]},
        )
    data = {"name": "fuzz", "workload": deepcopy(WORKLOADS[0]), "systems": {"one": deepcopy(SYSTEMS[6])}}
    return Case("experiment", [CONFIG], {CONFIG: config_file(data), **files})


def served(draw: Random, material: Material) -> Case:
    """What a server's benchmark, log and metrics have become."""
    of = [
        "--model",
        draw.choice(["llama-3.1-8b", "tiny-40m", "x"]),
        "--gpu",
        draw.choice(["h100-sxm", "h200"]),
    ]
    sort = draw.randrange(4)
    if sort == 0:
        content = rows_of(draw, material.bench) if draw.random() < 0.7 else mangled(draw, material.bench)
        return Case(
            "calibration", ["from-bench", "r.json", *of, "--out", "p.yaml", "--quiet"], {"r.json": content}
        )
    if sort == 1:
        content = mangled(draw, material.log, draw.choice([1, 3, 9]))
        return Case(
            "calibration", ["from-log", "s.log", *of, "--out", "p.yaml", "--quiet"], {"s.log": content}
        )
    if sort == 2:
        run = {f"run/{name}": content for name, content in material.run.items()}
        content = mangled(draw, material.metrics, draw.choice([1, 3, 9]))
        return Case("calibration", ["from-metrics", "m.txt", "--run", "run"], {"m.txt": content, **run})
    content = mangled(draw, material.timings, draw.choice([1, 3]))
    return Case("calibration", ["fit", "s.jsonl", "--out", "p.yaml"], {"s.jsonl": content})
