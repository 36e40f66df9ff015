"""The claim's parts, on the committed results of an H100 and on results whose effects are known."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from client.report.claim import claim, table
from client.report.content import report
from client.report.markdown import markdown

H100 = Path(__file__).parents[3] / "benchmarks" / "results" / "h100"


def read(name: str) -> dict:
    return json.loads((H100 / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def measured():
    """ONNX Runtime in three precisions, as committed."""
    return [read("accuracy"), read("end-to-end"), read("latency-2-grpc")]


@pytest.fixture
def made(measured):
    """The same, and a TensorRT FP16 model that is exactly twice as fast as ONNX Runtime FP16."""

    def make(engine="tensorrt_rtx", name="resnet18_tensorrt_rtx", capability="9.0", provenance=True):
        accuracy, end_to_end, latency = copy.deepcopy(measured)
        plan = {"tensorrt": "1.6.1.120", "gpu": "NVIDIA H100 80GB HBM3", "compute_capability": capability}
        own = {"engine": engine, "precision": "fp16", "plan": plan}
        for result in (accuracy, end_to_end, latency):
            model = copy.deepcopy(result["models"][2])
            model |= {"name": name, "platform": engine, "provenance": own if provenance else None}
            result["models"].append(model)
        row = copy.deepcopy(end_to_end["rows"][2])
        row["rounds"] = [seconds / 2 for seconds in row["rounds"]]
        row["seconds"] = {key: value / 2 for key, value in row["seconds"].items()}
        end_to_end["rows"].append(row | {"model": name, "images_per_second": 2 * row["images_per_second"]})
        for row in [row for row in latency["rows"] if row["model"] == "resnet18_onnx_fp16"]:
            latency["rows"].append(copy.deepcopy(row) | {"model": name})
        return accuracy, end_to_end, latency

    return make


def test_without_tensorrt_the_committed_results_answer_the_precision_s_part(measured):
    said = claim(measured)
    assert "6.75 s with TensorRT against 17.26 s with ONNX Runtime" in said
    assert "TensorRT was not measured; the precision alone (" in said
    assert "ONNX Runtime FP16 against ONNX Runtime FP32) 5.09x [" in said
    assert "ONNX Runtime FP16 -0.01 [-0.05, +0.03] points, 99.96 % of the answers the same, no measurable" in said
    assert "client and load were: resnet18_onnx_fp16 answers 137,181 images/s at batch 256, 8 in flight" in said
    assert "end to end 41% of that" in said


def test_the_engine_s_effect_and_the_precision_s_stand_apart(made):
    said = claim(list(made()))
    engine = "TensorRT for RTX 1.6.1.120 FP16"
    assert f"the engine alone ({engine} against ONNX Runtime FP16) 2.00x [2.00, 2.00]" in said
    assert f"engine and precision together ({engine} against ONNX Runtime FP32) 10.18x [" in said
    assert f"({engine} against ONNX Runtime TF32) 2.2" in said
    assert f"{engine} -0.01 [" in said


@pytest.mark.parametrize(("capability", "said"), [("9.0", True), ("8.9", False)])
def test_a_gpu_that_nvidia_does_not_support_is_said(made, capability, said):
    sentence = "TensorRT for RTX 1.6.1.120 runs on an NVIDIA H100 80GB HBM3, which NVIDIA does not support."
    assert (sentence in claim(list(made(capability=capability)))) is said


def test_nvidia_s_own_tensorrt_is_called_so(made):
    said = claim(list(made(engine="tensorrt_plan", name="resnet18_tensorrt")))
    assert "TensorRT 1.6.1.120 FP16 against ONNX Runtime FP16" in said
    assert "which NVIDIA does not support" not in said


def test_without_provenance_names_tell_engine_and_precision(made):
    said = claim(list(made(provenance=False)))
    assert "the engine alone (TensorRT for RTX FP16 against ONNX Runtime FP16) 2.00x" in said


def test_a_client_that_keeps_up_is_not_the_limit(made):
    accuracy, end_to_end, latency = made()
    for row in latency["rows"]:
        row["images_per_second"]["value"] = 125_000.0
    assert "The client was not the limit: end to end resnet18_tensorrt_rtx reaches 90% of its rate" in claim(
        [accuracy, end_to_end, latency]
    )
    assert "Whether the client was the limit was not measured" in claim([accuracy, end_to_end])


def test_a_loss_of_accuracy_is_called_one_and_its_absence_is_not_assumed(made):
    accuracy, end_to_end, latency = made()
    accuracy["models"][3]["paired"]["p_value"] = 0.001
    assert "a measurable difference (McNemar p = 0.001)" in claim([accuracy, end_to_end, latency])
    assert "Accuracy was not compared." in claim([end_to_end, latency])


def test_a_single_round_gives_a_ratio_without_an_interval(made):
    accuracy, end_to_end, latency = made()
    for row in end_to_end["rows"]:
        del row["rounds"][1:]
    assert "against ONNX Runtime FP16) 2.00x;" in claim([accuracy, end_to_end, latency])


def test_it_is_silent_where_nothing_speaks_to_it(measured):
    accuracy, end_to_end, latency = copy.deepcopy(measured)
    assert claim([accuracy, latency]) is None
    end_to_end["environment"]["gpus"] = []
    assert claim([accuracy, end_to_end]) is None
    end_to_end = copy.deepcopy(measured[1])
    end_to_end["models"] = end_to_end["models"][:1]
    assert claim([end_to_end]) is None


def test_the_report_puts_the_claim_s_figures_above_ours(made):
    results = list(made())
    _, rows, caption = table(results)
    assert [row[0] for row in rows[:2]] == ["claimed: ONNX Runtime", "claimed: TensorRT"]
    assert rows[-1][0] == "here: TensorRT for RTX 1.6.1.120 FP16"
    assert "names neither batch size, client nor GPU" in caption
    text = markdown(report(results))
    assert "### The claim" in text
    assert "| here: TensorRT for RTX 1.6.1.120 FP16 |" in text
    assert claim(results).split(";")[0][:60] in text
