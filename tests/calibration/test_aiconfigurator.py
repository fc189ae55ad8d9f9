"""Profiles from operator tables: the package played by one of ours with a few lines of arithmetic."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from calibration import draw, form
from sim.hardware.profile import load
from tests.refusing import Cli, refused

ENGINE = '''
import json
from pathlib import Path


class EngineHandle:
    """Weights and attention of Llama 3.1 8B, and how they were asked for."""

    @classmethod
    def compile(cls, folder, system, backend, **options):
        config = json.loads((Path(folder) / "config.json").read_text())
        assert config["architectures"] == ["LlamaForCausalLM"], config
        if system == "b300_sxm":
            raise KeyError("no data for b300_sxm")
        made = cls()
        made.gpus = options["tp_size"]
        return made

    def predict_decode_latency(self, batch, isl, osl):
        assert osl == 2
        return 0.3 + max(4.0, 0.02 * batch) / self.gpus + 3e-5 * batch * (isl + 1)

    def predict_prefill_latency(self, batch, isl, prefix):
        new = isl - prefix
        return 0.3 + max(4.0, 0.02 * new) / self.gpus + self._pairs(new, prefix)

    def mixed_step_breakdown(self, new, decodes, isl, osl, prefix=0):
        if isl <= prefix:
            raise ValueError("isl must be greater than 0 after removing prefix")
        shared = 0.3 + max(4.0, 0.02 * (new + decodes)) / self.gpus
        chunks = -(-isl // new)  # the package spreads a prompt's attention over its chunks
        prefill, decode = self._pairs(isl - prefix, prefix) / chunks, 3e-5 * decodes * (isl + 1)
        return shared + prefill + decode, shared, prefill, decode

    def _pairs(self, new, cached):
        return 2e-6 * new * (cached + (new + 1) / 2)
'''
VERSIONS = """
defaults:
  vllm: {current: "9.9.9"}
overrides:
  l40s:
    vllm: {current: "8.8.8"}
"""
METADATA = "Metadata-Version: 2.4\nName: aiconfigurator-core\nVersion: 0.0.1\n"


@pytest.fixture
def with_tables(tmp_path: Path, root: Path) -> Cli:
    """``python -m calibration ARGS`` in a process that has a package of tables."""
    site = tmp_path / "site"
    package = site / "aiconfigurator_core"
    (package / "sdk").mkdir(parents=True)
    (package / "systems").mkdir()
    for folder in (package, package / "sdk"):
        (folder / "__init__.py").write_text("")
    (package / "sdk" / "engine.py").write_text(dedent(ENGINE))
    (package / "systems" / "query_versions.yaml").write_text(VERSIONS)
    about = site / "aiconfigurator_core-0.0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(METADATA)
    return _calibration(tmp_path, root, [site, root])


def _calibration(
    folder: Path, root: Path, path: list[Path]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
        import os

        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "calibration", *map(str, args)],
            capture_output=True,
            text=True,
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(map(str, path)),
                "COLUMNS": "140",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            timeout=120,
        )

    return run


ASKED = ("import", "--from", "aiconfigurator", "--model", "llama-3.1-8b")


def test_a_profile_of_operator_tables(with_tables: Cli, tmp_path: Path) -> None:
    """The formula meets what follows it; the profile says of which package, GPU and engine it is."""
    out = tmp_path / "my.yaml"
    done = with_tables(*ASKED, "--gpu", "h200-sxm", "--tp", "2", "--out", out)
    assert done.returncode == 0, done.stderr
    profile = load(out)
    assert profile.origin == "imported" and profile.calibrated
    assert profile.serves is not None and profile.serves.tensor_parallel == 2
    assert profile.serves.gpu == "NVIDIA H200 SXM 141GB" and profile.serves.model == "Meta Llama 3.1 8B"
    tables = profile.tables
    assert tables is not None
    assert (tables.source, tables.version, tables.licence) == ("aiconfigurator-core", "0.0.1", "Apache-2.0")
    assert tables.tables == "kernels of vllm 9.9.9 on h200_sxm"
    assert profile.heldout is not None and profile.domain is not None
    assert profile.heldout.errors.mape < 0.01 and set(profile.heldout.by_family) == {
        "prefill",
        "decode",
        "mixed",
    }
    assert profile.coefficients.decode_kv == pytest.approx(3e-8, rel=0.05)
    assert "aiconfigurator-core 0.0.1 (Apache-2.0)" in done.stdout.replace("\n", " ")


def test_what_has_no_tables(with_tables: Cli, tmp_path: Path) -> None:
    """A GPU that nobody timed, one of which the package says so, a model of an unknown family."""
    said: tuple[str, ...] = (
        "--gpu rtx-4090",
        "aiconfigurator-core has no tables of it",
        "allowed: a100-80gb-sxm",
    )
    refused(with_tables, tmp_path, *ASKED, "--gpu", "rtx-4090", said=said)
    said = ("has no tables for Meta Llama 3.1 8B", "b300_sxm with vllm", "no data for b300_sxm", "allowed")
    refused(with_tables, tmp_path, *ASKED, "--gpu", "b300", said=said)
    args = ("import", "--from", "aiconfigurator", "--model", "gemma-3-4b", "--gpu", "h200")
    said = ("--model gemma-3-4b", "model_type gemma3", "allowed")
    refused(with_tables, tmp_path, *args, said=said)
    said = ("--backend triton", "vllm, sglang")
    refused(with_tables, tmp_path, *ASKED, "--gpu", "h200", "--backend", "triton", said=said)
    said = ("--model: Meta Llama 3.1 70B", "tokens of KV", "allowed: at least 4,096")
    large = ("import", "--from", "aiconfigurator", "--model", "llama-3.1-70b", "--gpu", "h200")
    refused(with_tables, tmp_path, *large, said=said)


def test_without_the_package(calibration: Cli, tmp_path: Path) -> None:
    """What to install is said."""
    try:
        import aiconfigurator_core  # noqa: F401
    except ImportError:
        pass
    else:
        pytest.skip("aiconfigurator-core is installed")
    said = ("aiconfigurator_core is not installed", "pip install -e '.[tables]'")
    refused(calibration, tmp_path, *ASKED, "--gpu", "h200", said=said)


def test_the_package_itself(calibration: Cli, tmp_path: Path) -> None:
    """Llama 3.1 8B on one H200 by NVIDIA's tables, as it ships."""
    pytest.importorskip("aiconfigurator_core", reason="aiconfigurator-core is not installed (extra tables)")
    from sim.hardware import shipped

    out = tmp_path / "my.yaml"
    done = calibration(*ASKED, "--gpu", "h200", "--out", out)
    assert done.returncode == 0, done.stderr
    made, ships = load(out), load(shipped.FOLDER / "h200.llama-3.1-8b.tp1.yaml")
    steps = draw.steps(draw.Limits(128, 4096, 8192, 200_000), 100, 7, "some", uneven=False)
    ours, theirs = (form.seconds(profile.coefficients, steps) for profile in (made, ships))
    assert ours == pytest.approx(theirs, rel=1e-3)
