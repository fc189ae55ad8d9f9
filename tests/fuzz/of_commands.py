"""Commands: runs with their files, studies, comparisons, and any option of any command."""

from __future__ import annotations

from copy import deepcopy
from random import Random
from typing import Any

import typer

from calibration import cli as calibration
from sim import cli as sim
from sim.results.summary_system import FIGURES
from tests.fuzz.case import Case
from tests.fuzz.material import SYSTEMS, WORKLOADS, Material
from tests.fuzz.odd import odd
from tests.fuzz.of_configs import CONFIG, base, config_file, setting, varied, with_files
from tests.fuzz.of_logs import rows_of
from tests.fuzz.text import mangled
from workloads import cli as workloads

APPS: dict[str, typer.Typer] = {"sim": sim.app, "workloads": workloads.app, "calibration": calibration.app}


def files_of_a_run(draw: Random, material: Material) -> Case:
    """A run with its files."""
    data = varied(draw, base(draw, material), draw.choice([0, 1, 2]))
    args = [
        "run",
        CONFIG,
        "--out",
        draw.choice(["out", "a/b", "."]),
        *draw.choice([[], ["--quiet"], ["--details"]]),
    ]
    return Case("sim", args, with_files(material, data))


def studies(draw: Random, material: Material) -> Case:
    """The commands that run an experiment in many ways."""
    data = base(draw, material)
    if draw.random() < 0.5:
        data = varied(draw, data, 1)
    if draw.random() < 0.8:
        first = next(iter(data["systems"]))
        data["systems"] = {first: data["systems"][first]}
        data.pop("compare", None)
        data["claims"] = []
    command = draw.choice(["curve", "curve", "habits", "capacity", "sweep", "search", "fewest"])
    args = [command, CONFIG, "--out", "out", "--quiet"]
    figure = draw.choice(FIGURES)
    if command == "capacity":
        data["slo"] = draw.choice([{"ttft_ms": 200}, {"tpot_ms": 20}, {"e2el_ms": 1000}, {}])
        args += ["--precision", draw.choice(["0.5", "0.3", "2", "nan"])]
    elif command in ("sweep", "search", "fewest"):
        axis = draw.choice(
            ["seed=1,2", "workload.sessions=2,3", "systems.one.replicas=1,2", f"{setting(draw, data)},3"]
        )
        args += ["--set", axis, "--jobs", "1"]
        if command == "search":
            args += [
                "--goal",
                figure,
                *(
                    ["--limit", f"{figure} <= {draw.choice([1, 0, 'x', 1e9])}"]
                    if draw.random() < 0.5
                    else []
                ),
            ]
        if command == "fewest":
            args[0] = "search"
            args += ["--recipe", "fewest-gpus", "--most", "3"]
            data["slo"] = {"ttft_ms": 300}
        if command == "sweep" and draw.random() < 0.5:
            args += ["--metric", figure]
    return Case("sim", args, with_files(material, data))


def compared(draw: Random, material: Material) -> Case:
    """Runs side by side of which one was changed."""
    name = draw.choice(["summary.json", "summary.json", "config.yaml"])
    content = material.run[name]
    content = (
        rows_of(draw, content) if draw.random() < 0.7 and name.endswith("json") else mangled(draw, content)
    )
    files = {
        f"{run}/{key}": value
        for run in "ab"
        for key, value in material.run.items()
        if key in ("summary.json", "config.yaml")
    }
    args = ["compare", "a", "b", "--metric", draw.choice(FIGURES)]
    if draw.random() < 0.5:
        relation, most = draw.choice([">", "<", ">=", "=", ""]), draw.choice(["1.1x", "3", "x", "nan", ""])
        args += ["--fail-if", f"{draw.choice(FIGURES)} {relation} {most}"]
    return Case("sim", args, {**files, f"b/{name}": content})


NEVER = {"--cluster", "--help", "--version", "--device", "--jobs", "--shard"}
"""Options that leave this process."""
WORDS = (
    CONFIG, "trace.jsonl", "nothing", "anthropic", "llama-3.1-8b", "h200", "out", "3", "0.5", "one", "a=b",
    "mean_ttft_ms",
)  # fmt: skip
SLOW = {
    "sim": {"serve", "doctor", "habits", "schema"},
    "workloads": {"fit"},
    "calibration": {"run", "from-bench"},
}
"""Commands that serve, measure, take long or look elsewhere than they are told."""


def options(draw: Random, material: Material) -> Case:
    """Any command with any of its options and odd arguments."""
    program = draw.choice(["sim", "sim", "workloads", "calibration"])
    group: Any = typer.main.get_command(APPS[program])
    name = draw.choice(sorted(set(group.commands) - SLOW[program]))
    args = [name]
    for param in group.commands[name].params:
        if param.param_type_name == "argument":
            args += _arguments(draw, 1 if draw.random() < 0.9 else draw.choice([0, 2]))
        elif not NEVER & set(param.opts) and draw.random() < (0.9 if param.required else 0.15):
            args += [param.opts[0]] if param.is_flag else [param.opts[0], *_arguments(draw, 1)]
    data = {"name": "fuzz", "workload": deepcopy(WORKLOADS[0]), "systems": {"one": deepcopy(SYSTEMS[8])}}
    return Case(program, args, {CONFIG: config_file(data), "trace.jsonl": material.beside["trace.jsonl"]})


def _arguments(draw: Random, many: int) -> list[str]:
    found = []
    for _ in range(many):
        value = odd(draw) if draw.random() < 0.4 else draw.choice(WORDS)
        text = str(value).replace("\0", "")
        found.append("here" if text.startswith("/") else text)
    return found
