"""Nothing leaves the machine, and no word of a log is in any output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from reports.doctor_page import render
from sim.doctor.diagnose import diagnose
from sim.doctor.examine import examine
from tests.doctor.logs import FIRST, Row, Transcript, call

WORDS = ("zanzibar", "quokka", "umbrella", "secretplace", "marzipan")
GUARDED = """
import sys

def no_sockets(event, arguments):
    if event.startswith("socket.") or event in ("urllib.Request", "http.client.connect", "ftplib.connect"):
        print("opened:", event, file=sys.stderr)
        raise SystemExit(77)

sys.addaudithook(no_sockets)
from sim.cli import main
main(sys.argv[1:])
"""


def _log(folder: Path) -> Path:
    """Two sessions with words of their own in questions, replies, the folder's name and a summary."""
    for number in range(2):
        talk = Transcript(f"0{number}aa", "/home/me/secretplace").ask(0, "the zanzibar question")
        talk.reply(5, 0, 6400, "a quokka", "an umbrella").ask(900, "again marzipan")
        talk.reply(905, 0, 6500, "more quokka").cut(950, "compact_boundary").ask(960, "marzipan in short")
        talk.reply(965, 0, 5000, "so it is").write(folder / f"{number}.jsonl")
    return folder


def _run(*arguments: object, code: str = GUARDED, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def test_no_socket_and_no_words(tmp_path: Path) -> None:
    """Console, JSON and page, with every what-if, under a hook that ends the process at a socket."""
    log, out = _log(tmp_path / "log"), tmp_path / "out"
    shown = _run("doctor", log, "--out", out, cwd=tmp_path)
    printed = _run("doctor", log, "--json", cwd=tmp_path)
    assert shown.returncode == printed.returncode == 0, shown.stderr + printed.stderr
    page, figures = ((out / name).read_text() for name in ("doctor.html", "doctor.json"))
    for text in (shown.stdout, shown.stderr, printed.stdout, printed.stderr, page, figures):
        assert not [word for word in WORDS if word in text]
    assert "expired" in shown.stdout and "expired" in page, "the log was read"


def test_the_hook_sees_sockets(tmp_path: Path) -> None:
    """The hook is no formality: one that is opened ends the process."""
    code = GUARDED.replace("from sim.cli import main\nmain(sys.argv[1:])", "import socket\nsocket.socket()")
    done = _run(code=code, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (77, "opened: socket.__new__\n")


def test_names_are_shown_only_if_asked_for(tmp_path: Path) -> None:
    """``--names`` is the one way to see a folder's name."""
    done = _run("doctor", _log(tmp_path), "--json", "--no-what-if", "--names", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "secretplace" in done.stdout


def test_no_words_of_billed_rows(tmp_path: Path) -> None:
    """Names of lanes, sessions, projects, clients and months are text as well."""
    row: Row = {"id": "zanzibar", "session": "quokka", "project": "umbrella", "client": "marzipan cake"}
    row |= {"month": "secretplace", "requests": [FIRST, call(60, 6400, 0, [[1, 100]])]}
    path = tmp_path / "billed.jsonl"
    path.write_text(json.dumps(row) + "\n")
    found = diagnose(examine(path))
    for text in (json.dumps(found), render(found)):
        assert not [word for word in WORDS if word in text]
    assert found["lost_alive"], "losses by client are told"
