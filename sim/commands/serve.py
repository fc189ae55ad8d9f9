"""``python -m sim serve``: one system of a configuration behind the APIs of OpenAI, Anthropic and vLLM."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim.commands.options import ConfigFile, Force, Overrides, Quiet
from workloads.errors import InputError
from workloads.shown import shown

if TYPE_CHECKING:
    import socket

    from sim.server.api.serving import Server
    from sim.server.system import LiveSystem


def serve(
    config: ConfigFile,
    system: Annotated[
        str | None,
        typer.Option("--system", metavar="NAME", help="Which, where the configuration has several."),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="0: any that is free.")
    ] = 8000,
    host: Annotated[
        str,
        typer.Option("--host", metavar="ADDRESS", help="Another than the loopback one needs --api-key."),
    ] = "127.0.0.1",
    api_key: Annotated[
        str | None,
        typer.Option(
            "--api-key",
            metavar="KEY",
            envvar="PREFIXSIM_API_KEY",
            help="Clients must send it.",
            show_envvar=True,
        ),
    ] = None,
    speed: Annotated[
        str,
        typer.Option(
            "--speed", metavar="S", help="Simulated seconds in one of the wall clock; inf: at once."
        ),
    ] = "1",
    tokenizer: Annotated[
        Path | None,
        typer.Option("--tokenizer", metavar="FILE", help="A tokenizer.json; else a token is 4 characters."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where to write; default runs/NAME-served."),
    ] = None,
    overrides: Overrides = [],  # noqa: B006 (typer copies it)
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Serve a system to clients of OpenAI, Anthropic and vLLM.

    Runs until Ctrl-C or SIGTERM, then writes what `run` writes, and the traffic as a trace for `run`.
    """
    import asyncio

    from sim.config import load_config

    try:
        from sim.server.api import serving
    except ImportError as error:
        raise InputError(
            f"serve: {error.name} is not installed; allowed: pip install 'prefixsim[server]'"
        ) from None
    from reports import files
    from sim.server.api.tokens import tokens_of
    from sim.server.loop import exact_loop
    from sim.server.opening import open_system
    from sim.server.options import ServerOptions
    from workloads.formats.files import find_file

    loaded = load_config(config, overrides)
    if not serving.is_loopback(host) and not api_key:
        raise InputError(f"--host {host} without a key; allowed: --api-key, or an address like 127.0.0.1")
    live = open_system(loaded, system, _speed(speed))
    folder = out or Path("runs") / f"{loaded.name}-served"
    files.require_writable(folder)
    files.require_free(config, loaded, folder, force)
    tokens = tokens_of(None if tokenizer is None else find_file(tokenizer, loaded.folder))
    web = serving.application(
        live,
        loaded.server or ServerOptions(),
        tokens,
        seed=loaded.seed,
        folder=loaded.folder,
        api_key=api_key,
        pace=live.slow_down,
    )
    server = serving.server(web)
    with serving.listen(host, port) as listening:
        if not quiet:
            typer.echo(f"{live.about.system} at {_url(host, listening)}, speed {speed}")
            if tokens.note:
                typer.echo(tokens.note)
        with asyncio.Runner(loop_factory=exact_loop) as runner:
            runner.run(_until_stopped(live, server, listening))
    _write(live, folder, quiet)


def _write(live: LiveSystem, folder: Path, quiet: bool) -> None:
    """Write the run, unless no request came, and show its table unless it is to be ``quiet``."""
    from reports import console, terminal
    from sim.commands.live_run import write_run

    if not len(live.traffic.trace):
        typer.echo("no request came: nothing to write")
        return
    summary = write_run(live, folder)
    if not quiet:
        terminal.show(console.table(summary, terminal.width()))
        typer.echo(f"Report: {folder / 'report.html'}")
        typer.echo(f"The same traffic again: python -m sim run {folder / 'config.yaml'}")


async def _until_stopped(live: LiveSystem, server: Server, listening: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM; a second one ends streams at once."""
    import asyncio
    import signal

    from sim.server.api import serving

    def stop() -> None:
        server.force_exit = server.should_exit
        server.should_exit = True

    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        loop.add_signal_handler(number, stop)
    try:
        await serving.serve(live, server, listening)
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def _url(host: str, listening: socket.socket) -> str:
    address = f"[{host}]" if ":" in host else host
    return f"http://{address}:{listening.getsockname()[1]}"


def _speed(text: str) -> float:
    """The speed of ``--speed``; InputError if it is none."""
    try:
        speed = float(text)
    except ValueError:
        speed = -1.0
    if speed == inf or 0.001 <= speed <= 10_000:
        return speed
    raise InputError(f"--speed {shown(text)}; allowed: 1, 10, ... up to 10000, or inf")
