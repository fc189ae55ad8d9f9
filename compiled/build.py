"""Compiles the hot modules in place, as they are: ``python -m compiled.build``, or ``make compiled``.

mypyc, which comes with mypy, turns typed Python into C. Python imports ``block.cpython-311-x86_64.so``
before ``block.py`` beside it; remove the ``.so`` files (``make pure``) and the sources are run again. Build
anew after every change of a source: a stale ``.so`` would hide it.

Left interpreted are pydantic's models, dataclasses with slots, and SimPy's clock.
"""

from __future__ import annotations

import os

from mypyc.build import mypycify
from setuptools import Distribution
from setuptools.command.build_ext import build_ext

from compiled.interpreted import ROOT, built

MODULES = {
    "workloads": "content chains growing messages",
    "sim/caches": "runs node_runs tables block_pool block radix radix_nodes radix_tree radix_eviction lower"
    " tiers",
    "sim/caches/groups": "kinds leaving braid group prefix cache lone",
    "sim/caches/eviction": "base keyed lru ttl fifo lfu gdsf belady ghosts arc sieve s3fifo session future",
    "sim/engine": "batch latency timer leaving loads request writers sources beside",
    "sim/engine/vllm": "batch slides decoding drafts durations notes progress run_scheduler step_scheduler"
    " replica memory",
    "sim/engine/sglang": "batch decodes admission queue running memory request retraction scheduler"
    " replica",
    "sim/fleet": "fleet outages",
}


def build() -> None:
    """Compile `MODULES` as one library, with a small file beside each source that points into it."""
    os.chdir(ROOT)
    for stale in built():
        stale.unlink()
    extensions = mypycify(
        [f"{folder}/{name}.py" for folder, names in MODULES.items() for name in names.split()],
        group_name="prefixsim",
        target_dir="build/mypyc",
    )
    command = build_ext(Distribution({"name": "prefixsim", "ext_modules": extensions}))
    command.inplace = True
    command.build_temp = "build/temp"
    command.ensure_finalized()
    command.run()


if __name__ == "__main__":
    build()
