"""The wheel, built and installed into an environment of its own, runs from any folder."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("sim", "workloads", "calibration", "reports")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this folder."""
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=ROOT)
    (path,) = folder.glob("prefixsim-*.whl")
    return path


def _run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wheel_holds_every_file(wheel: Path) -> None:
    """Modules, rules, catalogues, profiles, pages, type markers, and the configurations within `sim`."""
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".yaml", ".html", ".css", ".js", ".typed")
    }
    shipped = {f"sim/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "configs").rglob("*.yaml")}
    assert {f"{package}/py.typed" for package in PACKAGES} <= expected
    assert len(shipped) > 20 and shipped.isdisjoint(expected)
    assert expected | shipped <= names
    assert {name.partition("/")[0] for name in names} == {
        *PACKAGES,
        f"{wheel.name.split('-py3')[0]}.dist-info",
    }


def test_wheel_runs_elsewhere(wheel: Path, tmp_path: Path) -> None:
    """A shipped configuration, in an environment that has our dependencies and nothing else of ours."""
    _run(sys.executable, "-m", "venv", "--without-pip", "env", cwd=tmp_path)
    python = tmp_path / "env" / "bin" / "python"
    install = ("install", "--quiet", "--no-deps", "--no-index", "--no-compile", wheel)
    _run(sys.executable, "-m", "pip", "--python", python, *install, cwd=tmp_path)
    (packages,) = (tmp_path / "env").glob("lib/python*/site-packages")
    dependencies = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "dependencies.pth").write_text("\n".join(dependencies) + "\n")

    settings = ("--set", "workload.sessions=30", "--out", "out")
    shown = _run(python, "-I", "-W", "error", "-m", "sim", "run", "quickstart", *settings, cwd=tmp_path)
    assert "hit rate, by tokens" in shown
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["requests"] > 30
    assert (tmp_path / "out" / "report.html").exists()
    where = _run(
        python, "-I", "-c", "import sim, reports; print(sim.__file__, reports.__file__)", cwd=tmp_path
    )
    assert all(Path(path).is_relative_to(packages) for path in where.split())
    assert _run(python.with_name("prefixsim"), "--version", cwd=tmp_path).startswith("prefixsim ")
