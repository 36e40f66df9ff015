"""The report: made from real results, read back, and looked at by a real browser."""

from __future__ import annotations

import copy
import csv
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from io import StringIO

import numpy as np
import pytest

from client.report.content import report
from client.report.csv_file import csv_text
from client.report.grid import grid
from client.report.html import html
from client.report.markdown import markdown
from tests.client.conftest import ROOT, write_dataset

pytestmark = pytest.mark.triton

HISTORY = json.loads((ROOT / "builder/network/checkpoints/baseline.history.json").read_text())


@pytest.fixture(scope="module")
def results(served, tmp_path_factory):
    """What the commands write about two models."""
    import sys

    directory = tmp_path_factory.mktemp("results")
    pixels = np.random.default_rng(0).integers(0, 256, 200)
    data = write_dataset(directory / "cifar", pixels, pixels % 10)
    models = ["--model=classifier", "--model=ninths", f"--url={served.grpc}"]
    commands = {
        "accuracy": [f"--data={data}"],
        "end-to-end": ["--rounds=2", f"--data={data}"],
        "latency": ["--batch-sizes=1,4", "--concurrency=1,2", "--rounds=2", "--duration=0.2", f"--data={data}"],
        "check": ["--duration=4"],
    }
    found = []
    for command, options in commands.items():
        path = directory / f"{command}.json"
        line = [sys.executable, "-m", "client", command, *models, *options, f"--output={path}"]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(path.read_text()))
    return found


class _Page(HTMLParser):
    """Elements left open, identifiers, and everything a page would load."""

    VOID = frozenset({"meta", "link", "br", "img", "path", "use", "rect"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.ids, self.loads, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        self.loads += [values[name] for name in ("src", "href", "xlink:href") if values.get(name)]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_is_whole_and_loads_nothing(results):
    page = _Page(html(report(results, HISTORY)))
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert all(target.startswith(("#", "data:")) for target in page.loads)
    for heading in (
        "Whether answers belong to their images",
        "Accuracy",
        "End to end",
        "Latency and throughput",
        "Training",
        "Environment",
    ):
        assert heading in page.text


def test_the_verdict_says_what_was_measured(results):
    accuracy, end_to_end, *_ = results
    said = report(results).verdict
    assert "classifier classifies 100.00 %" in said
    assert "ninths is less accurate than classifier" in said
    ratio = end_to_end["ratios"][0]["speedup"]
    assert f"{ratio['value']:.2f}x [{ratio['low']:.2f}, {ratio['high']:.2f}]" in said
    wins = accuracy["models"][1]["paired"]
    assert f"{100 * wins['difference']['value']:+.2f}" in said


def test_names_cannot_break_the_page_or_the_tables(results):
    evil = json.loads(json.dumps(results).replace("ninths", "<script>alert(1)</script>|*x*"))
    page = html(report(evil))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    lines = [line for line in markdown(report(evil)).splitlines() if line.startswith("|")]
    assert not any(re.search(r"(?<!\\)<script", line) for line in lines)
    plain = [re.sub(r"\\.", "", line).count("|") for line in markdown(report(results)).splitlines() if line[:1] == "|"]
    assert [re.sub(r"\\.", "", line).count("|") for line in lines] == plain


def test_an_incomplete_result_says_so_before_all_figures(results):
    broken = copy.deepcopy(results)
    broken[2] |= {"complete": False, "stopped_by": "no Triton answers", "server": None}
    page = _Page(html(report(broken))).text
    assert 0 < page.index("Incomplete.") < page.index("Accuracy")
    assert "no Triton answers" in page


def test_wrong_answers_are_said_before_everything_else(results):
    broken = copy.deepcopy(results)
    assert not report(results).faults
    finding = {"kind": "other images", "text": "answers belong to other requests: 15 of 30 at batch 64"}
    broken[3]["checks"][1] |= {"passed": False, "findings": [finding]}
    made = report(broken)
    assert made.verdict.startswith("WRONG ANSWERS: ninths must not be used, and its figures do not count.")
    page = _Page(html(made)).text
    assert "ninths: answers belong to other requests: 15 of 30 at batch 64" in page
    assert page.index("no figure of these models counts") < page.index("Accuracy")
    passed = {row["model"]: row["value"] for row in csv.DictReader(StringIO(csv_text(broken)))
              if row["figure"] == "check_passed"}  # fmt: skip
    assert passed == {"classifier": "1", "ninths": "0"}


def test_csv_holds_every_figure_once(results):
    rows = list(csv.DictReader(StringIO(csv_text(results))))
    keys = [tuple(row[name] for name in ("command", "model", "baseline", "batch_size", "concurrency", "figure"))
            for row in rows]  # fmt: skip
    assert len(keys) == len(set(keys))
    latency = {key: row["value"] for key, row in zip(keys, rows, strict=True)}
    for row in results[2]["rows"]:
        key = ("latency", row["model"], "", str(row["batch_size"]), str(row["concurrency"]), "p99_ms")
        assert float(latency[key]) == row["latency_ms"]["p99"]


def test_synthetic_images_give_agreement_and_no_accuracy(results):
    accuracy = copy.deepcopy(results[0])
    accuracy["models"] = accuracy["models"][:1]
    accuracy["models"][0] |= {"accuracy": None, "reference": {
        "file": "x", "images": 256, "top1_agreement": 1.0, "max_abs_difference": 1e-6}}  # fmt: skip
    made = report([accuracy])
    assert "No accuracy was measured" in made.verdict
    assert "100.00 % of 256 synthetic images" in made.verdict
    assert made.sections[0].title == "Agreement with PyTorch"


def test_the_grid_appears_with_all_four_models_and_divides_the_right_figures(results):
    latency = copy.deepcopy(results[2])
    assert grid(results) is None
    speed = {("onnxruntime_onnx", "fp32"): 100, ("onnxruntime_onnx", "fp16"): 150,
             ("tensorrt_plan", "fp32"): 200, ("tensorrt_plan", "fp16"): 600}  # fmt: skip
    row, model = latency["rows"][0], latency["models"][0]
    latency["models"] = [model | {"name": "-".join(key), "platform": key[0], "provenance": {"precision": key[1]}}
                         for key in speed]  # fmt: skip
    latency["rows"] = [row | {"model": "-".join(key), "images_per_second": {"value": rate, "low": None, "high": None}}
                       for key, rate in speed.items()]  # fmt: skip
    latency["ratios"] = []
    columns, rows, _ = grid([latency])
    assert columns == ["", "ONNX Runtime", "TensorRT", "TensorRT / ONNX Runtime"]
    assert rows == [
        ["FP32", "100", "200", "2.00x"],
        ["FP16", "150", "600", "4.00x"],
        ["FP16 / FP32", "1.50x", "3.00x", "6.00x (both)"],
    ]
    assert "Engine and precision" in html(report([latency]))


def test_the_command_writes_three_files(run_client, results, tmp_path):
    for result in results:
        (tmp_path / f"{result['command']}.json").write_text(json.dumps(result))
    history = ROOT / "builder/network/checkpoints/baseline.history.json"
    done = run_client("report", "accuracy.json", "latency.json", "end-to-end.json", f"--run={history}", "--output=out")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.html", "report.md", "report.csv"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "does not exist"),
        ("", "cannot be read as a result"),
        ("[1]", "is not a result of this client"),
        ('{"command": "latency", "schema": 1}', "has schema 1; this client reads"),
        ('{"command": "latency", "schema": 2}', "lacks what a report needs"),
    ],
)
def test_what_is_not_a_result_is_refused(run_client, tmp_path, content, said):
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    done = run_client("report", "a.json")
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


OUTER = """<!DOCTYPE html><html><body style="margin:0"><iframe style="border:0" width="{width}" height="900"></iframe>
<script>
const frame = document.querySelector("iframe");
frame.srcdoc = {page};
frame.onload = () => {{
  const page = frame.contentDocument, wide = [...page.querySelectorAll("body *")]
    .filter(e => !e.closest(".scroll") && e.getBoundingClientRect().right > {width} + 1).map(e => e.tagName);
  const sizes = [...page.querySelectorAll("svg text")].map(e => e.getBoundingClientRect().height).filter(h => h > 0);
  document.title = JSON.stringify({{scroll: page.documentElement.scrollWidth, wide: [...new Set(wide)],
    plots: page.querySelectorAll("svg").length, smallest: Math.min(...sizes)}});
}};
</script></body></html>"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_it_without_errors_and_without_overflow(results, tmp_path, width, scheme):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here; on Debian: apt install chromium")
    page = html(report(results, HISTORY))
    (tmp_path / "outer.html").write_text(OUTER.format(width=width, page=json.dumps(page).replace("</", "<\\/")))
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
             f"--user-data-dir={tmp_path}",
             f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}"]  # fmt: skip
    done = subprocess.run(
        [browser, *flags, "--window-size=1400,1000", "--virtual-time-budget=5000", "--dump-dom",
         f"file://{tmp_path}/outer.html"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr, [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    seen = json.loads(re.search(r"<title>(\{.*?\})</title>", done.stdout)[1])
    assert seen["scroll"] <= width
    assert seen["wide"] == []
    assert seen["plots"] == 7
    assert seen["smallest"] >= 7  # px; the numbers inside the confusion matrix are the smallest
