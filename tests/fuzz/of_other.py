"""Files of other kinds: axes, shapes of sessions, tokenizers, tables of layer times."""

from __future__ import annotations

import gzip
import json
from copy import deepcopy
from random import Random

from tests.fuzz.case import Case
from tests.fuzz.material import SYSTEMS, WORKLOADS, Material
from tests.fuzz.of_configs import CONFIG, config_file, yaml_changed
from tests.fuzz.of_logs import rows_of
from tests.fuzz.text import mangled

TOKENIZER = json.dumps({
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
    "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
    "model": {"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"},
}).encode()  # fmt: skip
"""Words, as `tokenizers` writes it."""
AXES = b"""\
size:
  small: {systems.one.cache.capacity_blocks: 40, seeds: 1}
  large: {systems.one.cache.capacity_blocks: 80}
workload.sessions: [2, 3]
"""


def axes(draw: Random, material: Material) -> Case:
    """A sweep along the axes of a file."""
    data = {"name": "fuzz", "workload": deepcopy(WORKLOADS[0]), "systems": {"one": deepcopy(SYSTEMS[9])}}
    files = {CONFIG: config_file(data), "axes.yaml": yaml_changed(draw, AXES)}
    args = ["sweep", CONFIG, "--axes", "axes.yaml", "--out", "out", "--jobs", "1", "--quiet"]
    return Case("sim", args, files)


def shapes(draw: Random, material: Material) -> Case:
    """A workload of shapes that a fit has written."""
    workload = {"kind": "fitted", "path": "shapes.parquet", "sessions": 3, "arrival": {"rate_per_s": 2}}
    data = {"name": "fuzz", "workload": workload, "systems": {"one": deepcopy(draw.choice(SYSTEMS[:6]))}}
    content = material.shapes
    if draw.random() < 0.9:
        content = mangled(draw, content, draw.choice([1, 2]))
    return Case("experiment", [CONFIG], {CONFIG: config_file(data), "shapes.parquet": content})


def tokenizers(draw: Random, material: Material) -> Case:
    """A tokenizer that counts what a log has not counted."""
    sample = next(one for one in material.samples if one.format == "sharegpt")
    content = rows_of(draw, TOKENIZER) if draw.random() < 0.7 else mangled(draw, TOKENIZER)
    args = ["describe", sample.path, "--format", "sharegpt", "--set", "tokenizer=tokenizer.json"]
    args += ["--set", "arrival={process: closed_loop, concurrency: 2}"]
    return Case("workloads", args, {**sample.files, "tokenizer.json": content})


def layers(draw: Random, material: Material) -> Case:
    """Tables of layer times."""
    files = dict(material.layers)
    name = draw.choice(list(files))
    if name.endswith(".gz"):
        files[name] = gzip.compress(
            mangled(draw, gzip.decompress(files[name]), draw.choice([1, 3])), mtime=0
        )
    else:
        files[name] = yaml_changed(draw, files[name])
    if draw.random() < 0.1:
        del files[name]
    args = ["import", "layers", "--from", "layer-times", "--model", "llama-3.1-8b", "--gpu", "rtx-4090"]
    return Case("calibration", [*args, "--out", "p.yaml", "--quiet"], files)
