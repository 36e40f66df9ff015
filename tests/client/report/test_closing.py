from __future__ import annotations

import copy

import pytest

from client.report.closing import closing
from client.report.content import _environment as environment_section

LATENCY = {
    "command": "latency",
    "ratios": [
        {"model": "b", "baseline": "a", "batch_size": size, "concurrency": load, "rate": None,
         "throughput": {"value": value, "low": value - 0.1, "high": value + 0.1}}
        for size, load, value in ((1, 1, 2.8), (1, 4, 2.9), (64, 1, 3.1))
    ],
}  # fmt: skip
ACCURACY = {
    "command": "accuracy",
    "data": {"name": "CIFAR-10 (JPEG copy)"},
    "models": [
        {"name": "a", "accuracy": {"value": 0.93, "total": 10_000}, "paired": None, "reference": None},
        {
            "name": "b",
            "accuracy": {"value": 0.929, "total": 10_000},
            "paired": {"difference": {"value": -0.0003, "low": -0.0012, "high": 0.0006}},
            "reference": None,
        },
    ],
}
SYNTHETIC = copy.deepcopy(ACCURACY)
for model in SYNTHETIC["models"]:
    model |= {"accuracy": None, "paired": None, "reference": {"top1_agreement": 0.9766, "images": 256}}


def check(*, passed: bool):
    return {"command": "check", "checks": [{"model": "b", "passed": passed}]}


def test_it_is_how_many_times_as_fast_at_what_difference_in_accuracy_with_intervals():
    assert closing([ACCURACY, LATENCY, check(passed=True)]) == (
        "b answers 2.80x [2.70, 2.90] at batch 1 and 3.10x [3.00, 3.20] at batch 64 as many images a second as a, "
        "at a difference in accuracy of -0.03 [-0.12, +0.06] points on 10,000 test images of CIFAR-10 (JPEG copy)."
    )


def test_without_labelled_images_it_says_so():
    assert closing([SYNTHETIC, LATENCY]).endswith(
        "and gives 97.66 % of 256 SYNTHETIC IMAGES PyTorch's class, for want of labelled ones."
    )


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([], ""),
        ([LATENCY, ACCURACY, check(passed=False)], ""),
        ([{**LATENCY, "ratios": []}, {**ACCURACY, "models": ACCURACY["models"][:1]}], ""),
        ([ACCURACY], "b at a difference in accuracy of -0.03 [-0.12, +0.06] points on 10,000 test images of "
                     "CIFAR-10 (JPEG copy)."),
    ],
    ids=["nothing", "wrong answers", "one model", "accuracy alone"],
)  # fmt: skip
def test_it_says_no_more_than_was_measured(results, said):
    assert closing(results) == said


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"instruction_set": ["avx512_vnni", "avx2"]}, "EPYC with avx512_vnni, 2 cores; H100"),
        ({"instruction_set": []}, "EPYC, 2 cores; H100"),
        ({}, "EPYC, 2 cores; H100"),
    ],
    ids=["named", "unknown", "an older result"],
)
def test_the_report_names_the_instruction_set(extra, said):
    found = {"cpu": "EPYC", "cores": 2, "gpus": ["H100"], "packages": {}, "git_revision": None, **extra}
    result = {"command": "check", "created": "2026-11-26", "environment": found, "server": None, "models": []}
    assert said in str(environment_section([result]))
