"""``python -m sim memory``: what of a model fits on a GPU."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from reports import terminal
from workloads.errors import InputError


def memory(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name, or a Hugging Face config.json.")],
    gpu: Annotated[str, typer.Argument(metavar="GPU", help="A name, or a YAML file.")],
    context: Annotated[
        int | None,
        typer.Option("--context", metavar="TOKENS", help="Of a session; default 8192."),
    ] = None,
    engine: Annotated[Literal["vllm", "sglang"], typer.Option("--engine", help="Whose rule.")] = "vllm",
    version: Annotated[
        str | None, typer.Option("--version", metavar="RELEASE", help="Of vLLM, like 0.19.")
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(
            "--share",
            metavar="SHARE",
            help="gpu_memory_utilization (vLLM) or mem_fraction_static (SGLang).",
        ),
    ] = None,
    dtype: Annotated[str, typer.Option("--dtype", metavar="DTYPE", help="As vLLM's option.")] = "auto",
) -> None:
    """What fits on 1 to 8 GPUs: weights, KV tokens, sessions."""
    from pydantic import ValidationError

    from reports import hardware as report
    from sim.engine.sglang.config import SglangEngine
    from sim.engine.vllm.config import VllmEngine
    from sim.hardware.estimate import accuracy
    from sim.hardware.memory import Memory
    from sim.studies.fitting import study
    from workloads.in_words import in_words

    if context is not None and context < 1:
        raise InputError(f"--context {context}: allowed: at least 1 token")
    if version is not None and engine == "sglang":
        raise InputError(f"--version {version}: allowed: with --engine vllm")
    key = "gpu_memory_utilization" if engine == "vllm" else "mem_fraction_static"
    try:
        whose = SglangEngine(kind="sglang") if engine == "sglang" else VllmEngine(version=version)
        part = Memory.model_validate({key: share})
    except ValidationError as error:
        first = error.errors()[0]
        option = "--share" if first["loc"] == (key,) else "--version"
        raise InputError(f"{option} {first['input']}: {in_words(first)}") from None
    terminal.show(report.memory(study(model, gpu, whose, part, context, dtype), accuracy(engine)))
