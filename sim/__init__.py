"""prefixsim: what KV and prompt-prefix caching is worth, in tokens, seconds and dollars.

>>> from sim import load_config, run
>>> result = run(load_config("quickstart", ["workload.sessions=50"]))
>>> share = result.table().loc["vllm-h200", "cache.prefix_cache_hit_rate"]
>>> f"{share:.0%}"
'95%'

In a notebook a result shows itself. `Result.summary` is what summary.json holds, `Result.table`,
`Result.savings`, `Result.compare` and `Result.requests` are data frames, and `Result.ttft_figure` and its
like draw. What every figure means is in docs/outputs.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.api import run
    from sim.config import Config, load_config
    from sim.result import Result
    from workloads.errors import InputError

__all__ = ["Config", "InputError", "Result", "load_config", "run"]

_HOME = {
    "Config": "sim.config",
    "load_config": "sim.config",
    "Result": "sim.result",
    "run": "sim.api",
    "InputError": "workloads.errors",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used, so that ``--help`` stays instant."""
    if name not in _HOME:
        raise AttributeError(f"module 'sim' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """What is public, for completion."""
    return sorted(__all__)
