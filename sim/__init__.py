"""prefixsim: what KV and prompt-prefix caching is worth, in tokens, seconds and dollars.

>>> from sim import load_config, run
>>> summary = run(load_config("configs/quickstart.yaml", ["workload.sessions=50"])).summary()
>>> f"{summary['systems']['vllm-h200']['cache']['prefix_cache_hit_rate']:.0%}"
'95%'

What every key means is in docs/outputs.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.config import Config, load_config
    from sim.experiment import Result, run
    from workloads.errors import InputError

__all__ = ["Config", "InputError", "Result", "load_config", "run"]

_HOME = {
    "Config": "sim.config",
    "load_config": "sim.config",
    "Result": "sim.experiment",
    "run": "sim.experiment",
    "InputError": "workloads.errors",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used, so that ``--help`` stays instant."""
    if name not in _HOME:
        raise AttributeError(f"module 'sim' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
