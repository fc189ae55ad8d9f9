"""All files or none: a process that ends at every rename, a full disk, two that write at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from workloads.errors import InputError
from workloads.staging import settle, staged

NAMES = ("a", "b", "c")


def _write(folder: Path, text: str, names: tuple[str, ...] = NAMES) -> None:
    with staged(folder) as place:
        for name in names:
            (place / name).write_text(text)


def _read(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


KILLED = """
import os, sys
from pathlib import Path
from workloads import staging
left = 0
def ending(real):
    def call(*args):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return real(*args)
    return call
os.rename, os.replace, os.link = map(ending, (os.rename, os.replace, os.link))
for left, folder in enumerate(sys.argv[1:]):
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        continue
    with staging.staged(Path(folder)) as place:
        for name in "abd":
            (place / name).write_text("new")
    os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("exists", [True, False])
def test_killed_at_every_step(tmp_path: Path, root: Path, exists: bool) -> None:
    """What the next command finds is what was there, or all of what was written."""
    old = {"a": "old", "b": "old", "mine": "kept"} if exists else {}
    new = {**old, "a": "new", "b": "new", "d": "new"}
    folders = [tmp_path / str(step) / "below" for step in range(8)]
    for folder in folders if exists else ():
        _write(folder, "old", ("a", "b"))
        (folder / "mine").write_text("kept")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, folders)],
        env={**os.environ, "PYTHONPATH": str(root)}, stdout=subprocess.PIPE, check=True, text=True,
    )  # fmt: skip
    seen = []
    for code, folder in zip(done.stdout.split(), folders, strict=True):
        settle(folder)
        found = _read(folder) if folder.exists() else {}
        assert found in (old, new) and (code == "9" or found == new)
        seen.append((code, found == new))
        assert {place.name for place in folder.parent.iterdir()} <= {"below"}
    assert seen[0] == ("9", False) and seen[-1] == ("0", True)
    if exists:
        assert ("9", True) in seen, "killed among the moves: the rest is moved afterwards"


def test_a_failure_puts_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error among the moves: as it was, and one message."""
    folder = tmp_path / "out"
    _write(folder, "old", ("b", "c"))
    real = os.replace

    def full(source: Path, target: Path) -> None:
        if target == folder / "c" and ".old" not in source.parts:
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="No space left on device"):
        _write(folder, "new")
    assert _read(folder) == {"b": "old", "c": "old"}
    assert list(tmp_path.iterdir()) == [folder]


def test_nothing_is_left_of_what_failed(tmp_path: Path) -> None:
    """Neither folders that were made on the way nor the place that was written to."""
    with pytest.raises(TypeError):
        _write(tmp_path / "a" / "b", 3)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "f").write_text("")
    with pytest.raises(InputError, match="File exists"):
        _write(tmp_path / "f" / "out", "new")
    (tmp_path / "out" / "a").mkdir(parents=True)
    with pytest.raises(InputError, match="a is a folder there"):
        _write(tmp_path / "out", "new")
    assert sorted(place.name for place in (tmp_path / "out").iterdir()) == ["a"]


def test_the_folder_is_as_open_as_others(tmp_path: Path) -> None:
    """Renaming what was written to does not leave it to its owner alone."""
    (tmp_path / "other").mkdir()
    _write(tmp_path / "out", "new")
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_two_at_once(tmp_path: Path) -> None:
    """All files are of the same writer, whichever was last."""
    folder = tmp_path / "out"

    def often(text: str) -> None:
        for _ in range(30):
            _write(folder, text)

    writers = [threading.Thread(target=often, args=(text,)) for text in ("one", "two", "three")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(set(_read(folder).values())) == 1 and set(_read(folder)) == set(NAMES)
