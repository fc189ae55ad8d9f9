"""``python -m calibration import``: profiles from tables of times that others measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from calibration import options
from reports import terminal
from workloads.errors import InputError

SOURCES = ("layer-times", "aiconfigurator")


def import_tables(
    source: Annotated[str, typer.Option("--from", metavar="SOURCE", help="layer-times or aiconfigurator.")],
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="Catalogue name, config.json or its folder.")
    ],
    gpu: Annotated[str, typer.Option("--gpu", metavar="NAME", help="Catalogue name of the GPU.")],
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Of layer-times: its tables.")
    ] = None,
    tp: Annotated[
        int, typer.Option("--tp", metavar="N", min=1, max=1024, help="GPUs that are tensor parallel.")
    ] = 1,
    data_parallel: Annotated[
        int,
        typer.Option("--data-parallel", metavar="N", min=1, max=1024, help="Ranks that are data parallel."),
    ] = 1,
    expert_parallel: Annotated[
        int,
        typer.Option(
            "--expert-parallel", metavar="N", min=1, max=1024, help="GPUs that share whole experts out."
        ),
    ] = 1,
    backend: Annotated[
        str, typer.Option("--backend", metavar="ENGINE", help="Of aiconfigurator: vllm or sglang.")
    ] = "vllm",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Profile; default in runs/calibration.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Fit tables that others measured and write a profile.

    Its error on steps held out is printed and kept in it.
    """
    options.require_choice("--from", source, list(SOURCES))
    options.require_installed("scipy")
    from sim.hardware import catalogue
    from sim.hardware.parallel import Parallel

    parallel = Parallel(tensor=tp, data=data_parallel, expert=expert_parallel)
    served = catalogue.model(model, Path(), "--model")
    device = catalogue.gpu(gpu, "--gpu")
    path = options.new_profile(out, f"{gpu}.{Path(model).stem}.{source}.tp{tp}")
    if source == "layer-times":
        if folder is None:
            raise InputError("--from layer-times: FOLDER is missing; allowed: the folder of the tables")
        from calibration.layer_profile import build

        profile = build(folder, served, device, parallel)
    else:
        options.require_choice("--backend", backend, ["vllm", "sglang"])
        options.require_installed("aiconfigurator_core", extra="tables")
        from calibration import aiconfigurator

        profile = aiconfigurator.build(model, served, gpu, parallel, backend)

    from reports import calibration as report
    from reports import files

    files.put(path.parent, {path.name: profile.to_yaml().encode()})
    if not quiet:
        terminal.show(report.profile_table(profile))
        typer.echo(f"Written: {path}")
