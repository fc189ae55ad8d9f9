"""``from-metrics``: a server's histograms beside a simulated run; numbers that made them are found."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from calibration.served import server_metrics
from calibration.served.metrics_fit import Simulated
from calibration.served.numbers import made, starts
from calibration.served.prometheus import Histogram, parse
from sim.hardware.profile import load
from sim.results import metrics
from sim.results.records import Records
from tests.calibration import benches, scrapes
from tests.refusing import Cli, refused
from workloads.errors import InputError

CONFIG = """\
name: served
workload: {kind: trace, format: tokens, path: trace.jsonl}
systems:
  mine: {kind: engine, model: llama-3.1-8b, hardware: h100-sxm, latency: {kind: roofline}}
"""
TTFT = "vllm:time_to_first_token_seconds"
TRUTH = {**starts(), "mfu": 0.45, "mbu": 0.85}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder, as far as it is read."""
    folder = tmp_path_factory.mktemp("run")
    benches.trace_file(folder / "trace.jsonl", 24, every_s=2.0)
    (folder / "config.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def records(folder: Path) -> Records:
    """What the server took."""
    simulated = Simulated.of(folder, None)
    return simulated.server.simulate(simulated.trace, made(simulated.server, TRUTH))


@pytest.fixture(scope="module")
def kept(folder: Path, records: Records) -> Path:
    """Its metrics."""
    path = folder / "metrics.prom"
    path.write_text(scrapes.text(records))
    return path


def test_means_are_exact_and_percentiles_within_their_buckets(kept: Path, records: Records) -> None:
    server = server_metrics.scrape(str(kept))
    assert server.requests == 24 and set(server.latencies) == {"TTFT", "TPOT", "E2E"}
    for name, values in (("TTFT", metrics.ttft_s(records)), ("E2E", metrics.e2el_s(records))):
        found = server.latencies[name]
        assert found.mean == pytest.approx(values.mean(), rel=1e-12)
        for share in (0.1, 0.5, 0.9, 0.99):
            true = float(np.quantile(values, share, method="inverted_cdf"))
            low = max([0.0, *(bound for bound in scrapes.BOUNDS if bound < true)])
            high = min(bound for bound in scrapes.BOUNDS if bound >= true)
            assert low <= found.quantile(share) <= high
    assert server.hit_tokens == records.cache_read_input_tokens.sum() > 0
    assert server.query_tokens == records.input_tokens.sum()


def test_histograms_by_hand() -> None:
    """Beyond the last bound nothing is known but that bound; of nothing between two there is no more."""
    found = Histogram({1.0: 0, 2.0: 4, 4.0: 4, np.inf: 5}, 11, 5)
    assert found.quantile(0.4) == 1.5 and found.quantile(0.9) == 4.0 and found.mean == 2.2
    assert found.less(Histogram({2.0: 1}, 1, 1)).buckets[2.0] == 3
    samples = parse('a{x="1, \\"2\\"",y="}"} 3 1700\na{x="b"} +Inf\n# a{\n\nb 1e3', "m")
    assert [sample.labels for sample in samples["a"]] == [{"x": '1, \\"2\\"', "y": "}"}, {"x": "b"}]
    assert samples["b"][0].value == 1000


def test_a_run_stands_beside_a_server(kept: Path, folder: Path, calibration: Cli) -> None:
    """The roofline is too fast, hits are the same; another load is told."""
    done = calibration("from-metrics", kept, "--run", folder)
    assert done.returncode == 0, done.stderr
    for text in (
        "24 requests measured, 24 simulated",
        "TTFT measured",
        "(+0.0 points)",
        "prompt tokens, mean",
    ):
        assert text in done.stdout
    assert "another workload" not in done.stdout and not Path("runs").exists()
    alone = calibration("from-metrics", kept)
    assert "prefix cache: " in alone.stdout and "E2E" in alone.stdout
    longer = Path("longer.prom")
    longer.write_text(kept.read_text().replace("vllm:request_prompt_tokens_sum{", "x{", 1))
    with longer.open("a") as file:
        file.write("vllm:request_prompt_tokens_sum 9e6\n")
    assert "another workload: prompt tokens" in calibration("from-metrics", longer, "--run", folder).stdout


def test_numbers_that_made_the_means_are_found(kept: Path, folder: Path, calibration: Cli) -> None:
    done = calibration("from-metrics", kept, "--run", folder, "--out", "p.yaml")
    assert done.returncode == 0, done.stderr
    assert "Written: p.yaml" in done.stdout and "are not fitted" in done.stdout
    profile = load(Path("p.yaml"))
    assert profile.bench is not None and profile.calibrated
    assert profile.bench.parameters == pytest.approx(TRUTH, rel=0.02)
    assert profile.bench.fitted_errors == pytest.approx({"TTFT mean": 0, "TPOT mean": 0}, abs=0.003)
    assert abs(profile.bench.heldout_errors["E2E mean"]) < 0.005


def test_what_came_since_an_earlier_scrape(kept: Path, records: Records, tmp_path: Path) -> None:
    path = tmp_path / "before.prom"
    path.write_text(scrapes.text(records, 0.5))
    now, before = server_metrics.scrape(str(kept)), server_metrics.scrape(str(path))
    later = now.since(before)
    assert later.requests == 12
    assert later.latencies["TTFT"].mean == pytest.approx(metrics.ttft_s(records)[12:].mean())
    assert later.hit_tokens == records.cache_read_input_tokens[12:].sum()
    with pytest.raises(InputError, match="an earlier scrape of the same server"):
        before.since(now)


class _Server(BaseHTTPRequestHandler):
    """Answers ``/metrics`` with ``pages``, else 404."""

    pages: dict[str, bytes]

    def do_GET(self) -> None:
        page = self.pages.get(self.path)
        self.send_response(404 if page is None else 200)
        self.end_headers()
        self.wfile.write(page or b"")

    def log_message(self, *args: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def live(kept: Path) -> Iterator[str]:
    """The URL of a server on this machine."""
    _Server.pages = {
        "/metrics": kept.read_bytes(),
        "/empty": b"",
        "/page": b"<html>",
        "/bytes": b"\xff\xfe",
    }
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_live_server_is_read(live: str, kept: Path) -> None:
    assert server_metrics.scrape(live).latencies == server_metrics.scrape(str(kept)).latencies


def test_bad_places_are_refused(
    live: str, kept: Path, folder: Path, calibration: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody there, nothing there, something else there; silence; runs that are none."""
    monkeypatch.setattr(server_metrics, "TIMEOUT_S", 0.3)
    cases = [
        (f"{live}/no", ("answers 404", "allowed: the URL of a server's /metrics")),
        (f"{live}/empty", ("no metrics;",)),
        (f"{live}/page", ("/page:1: '<html>'; allowed: metrics in Prometheus' text format",)),
        (f"{live}/bytes", ("no metrics:",)),
        ("http://127.0.0.1:1/metrics", ("no answer: ",)),
        ("http://[bad", ("http://[bad",)),
        ("no.prom", ("no such file",)),
    ]
    for place, said in cases:
        refused(calibration, tmp_path, "from-metrics", place, said=said)
    silent = ThreadingHTTPServer(("127.0.0.1", 0), _Server)  # listens, and nobody answers
    place = f"http://127.0.0.1:{silent.server_port}/metrics"
    refused(calibration, tmp_path, "from-metrics", place, said=("no answer within 0.3 s",))
    silent.server_close()
    other = tmp_path / "m.prom"
    for text, said in (
        ("up 1\n", ("time_to_first_token_seconds has no values",)),
        ("up one\n", ("m.prom:1: 'up one'",)),
        ('up{a="1} 1\n', ("m.prom:1: ",)),
        (kept.read_text() + f'{TTFT}_count{{model_name="another"}} 3\n', ("several models (another, my",)),
        (kept.read_text() + f"{TTFT}_count -3\n", (f"m.prom: {TTFT}_count = -3; allowed: 0 to",)),
        (kept.read_text() + f"{TTFT}_sum NaN\n", (f"m.prom: {TTFT}_sum = nan; allowed: 0 to",)),
        (kept.read_text() + f'{TTFT}_bucket{{le="9"}} +Inf\n', (f"{TTFT}_bucket = inf; allowed: 0 to",)),
        (kept.read_text().replace(f"{TTFT}_sum", "x"), ("time_to_first_token_seconds has no values",)),
        (
            kept.read_text() + "vllm:prefix_cache_hits_total -1\n",
            ("prefix_cache_hits_total = -1; allowed",),
        ),
    ):
        other.write_text(text)
        refused(calibration, tmp_path, "from-metrics", other, said=said)
    run = ("from-metrics", kept, "--run")
    refused(calibration, tmp_path, *run, tmp_path, said=("no config.yaml; allowed: a folder that",))
    refused(calibration, tmp_path, *run, folder, "--system", "two", said=("--system two; allowed",))
    refused(calibration, tmp_path, *run, folder, "--out", other, said=("a new file name",))
    refused(calibration, tmp_path, "from-metrics", kept, "--out", "p.yaml", said=("needs --run DIR",))
    refused(calibration, tmp_path, *run, folder, "--since", kept, said=("--since", "an earlier scrape"))
