"""The claim that this project starts from, and what the results say to each of its parts.

"ResNet18 classifies CIFAR-10's test images in 17.26 s with ONNX Runtime and in 6.75 s with TensorRT: 2.56 times as
fast, without loss of accuracy." Such a figure mixes two effects, the engine's and the precision's; and it can be the
client's.
"""

from __future__ import annotations

import math
from typing import Any

from client.checks.doubtful_figures import BUSY
from client.report.verdict import SIGNIFICANT
from client.statistics import estimates, formatting

ONNX_SECONDS = 17.26
TENSORRT_SECONDS = 6.75
CLAIMED = 2.56
"""Times as fast, as the claim has it."""

FULL = 0.8
"""Share of a model's best throughput from which the wall time counts as the server's and not as the client's."""

_ONNX, _TENSORRT, _RTX = "onnxruntime_onnx", "tensorrt_plan", "tensorrt_rtx"
_PRECISIONS = {"fp32": "FP32", "tf32": "TF32", "fp16": "FP16"}


def claim(results: list[dict[str, Any]]) -> str | None:
    """The closing sentences; None where no GPU was measured end to end, or nothing that the claim is about."""
    by_command = {result["command"]: result for result in results}
    end_to_end = by_command.get("end-to-end")
    if not end_to_end or not end_to_end["environment"]["gpus"]:
        return None
    models: dict[tuple[str, str], dict[str, Any]] = {}
    for model in end_to_end["models"]:
        models.setdefault(_place(model), model)  # of several versions the first, which the others are compared with
    effects = _effects(end_to_end, models)
    if not effects:
        return None
    return " ".join(
        [
            f"The claim: {TENSORRT_SECONDS} s with TensorRT against {ONNX_SECONDS} s with ONNX Runtime for the test "
            f"images, {CLAIMED} times as fast, without loss of accuracy.",
            f"Here, {end_to_end['data']['images']:,} images:",
            "; ".join(effects) + ".",
            *_unsupported(models),
            *_accuracy(by_command.get("accuracy"), models),
            _limit(end_to_end, by_command.get("latency"), _fastest(end_to_end, models)),
        ]
    )


def table(results: list[dict[str, Any]]) -> tuple[list[str], list[list[str]], str]:
    """Columns, rows and caption: the claim's two figures above those measured here, where `claim` has an answer."""
    by_command = {result["command"]: result for result in results}
    end_to_end = by_command["end-to-end"]
    accuracy = {model["name"]: model["accuracy"] for model in by_command.get("accuracy", {"models": []})["models"]}
    names = {model["name"]: _title(model) for model in end_to_end["models"]}
    rows = [
        ["claimed: ONNX Runtime", f"{ONNX_SECONDS}", "", ""],
        ["claimed: TensorRT", f"{TENSORRT_SECONDS}", "", ""],
    ]
    for row in end_to_end["rows"]:
        found = accuracy.get(row["model"])
        cells = [formatting.interval(row["seconds"]), formatting.number(row["images_per_second"])]
        rows.append([f"here: {names[row['model']]}", *cells, formatting.proportion(found) if found else ""])
    settings = end_to_end["settings"]
    caption = (
        f"Wall time for the test images; here: {end_to_end['data']['images']:,} images over {settings['transport']}, "
        f"batch {settings['batch_size']}, {settings['concurrency']} in flight, {', '.join(_gpus(end_to_end))}. The "
        "claim names neither batch size, client nor GPU."
    )
    return ["", "seconds", "images/s", "accuracy"], rows, caption


def _place(model: dict[str, Any]) -> tuple[str, str]:
    """Engine and precision: as the builder recorded them, else as name and platform suggest."""
    source = model["provenance"] or {}
    name = model.get("model_name", model["name"])  # without the version that may follow in the other
    engine = _RTX if "tensorrt_rtx" in name else _TENSORRT if "tensorrt" in name else model["platform"]
    default = "fp16" if engine in (_TENSORRT, _RTX) else "fp32"
    precision = next((key for key in _PRECISIONS if name.endswith(key)), default)
    return source.get("engine") or engine, source.get("precision") or precision


def _title(model: dict[str, Any]) -> str:
    engine, precision = _place(model)
    plan = (model["provenance"] or {}).get("plan") or {}
    version = f" {plan['tensorrt']}" if "tensorrt" in plan else ""
    name = {_ONNX: "ONNX Runtime", _TENSORRT: f"TensorRT{version}", _RTX: f"TensorRT for RTX{version}"}.get(engine)
    which = f" ({model['name']})" if model["name"] != model.get("model_name", model["name"]) else ""
    return f"{name or engine} {_PRECISIONS.get(precision, precision.upper())}{which}"


def _effects(result: dict[str, Any], models: dict[tuple[str, str], dict[str, Any]]) -> list[str]:
    """One part of a sentence for each comparison that can be made, the engine's alone first."""
    effects = []
    for engine in (_TENSORRT, _RTX):
        if (engine, "fp16") not in models:
            continue
        for precision, what in (
            ("fp16", "the engine alone"),
            ("fp32", "engine and precision together"),
            ("tf32", "the same against the precision that ONNX Runtime takes by default"),
        ):
            effects += _effect(result, models, (engine, "fp16"), (_ONNX, precision), what)
    if not effects:
        effects = _effect(
            result, models, (_ONNX, "fp16"), (_ONNX, "fp32"), "TensorRT was not measured; the precision alone"
        )
    return effects


def _effect(
    result: dict[str, Any],
    models: dict[tuple[str, str], dict[str, Any]],
    one: tuple[str, str],
    other: tuple[str, str],
    what: str,
) -> list[str]:
    if one not in models or other not in models:
        return []
    rounds = {row["model"]: row["rounds"] for row in result["rows"]}
    quick, slow = (rounds.get(models[place]["name"], []) for place in (one, other))
    count = min(len(quick), len(slow))
    if not count:
        return []
    ratio = estimates.ratio_over_rounds(slow[:count], quick[:count])
    low, high = (None if math.isnan(end) else end for end in (ratio.low, ratio.high))
    speedup = formatting.times({"value": ratio.value, "low": low, "high": high})
    return [f"{what} ({_title(models[one])} against {_title(models[other])}) {speedup}"]


def _unsupported(models: dict[tuple[str, str], dict[str, Any]]) -> list[str]:
    plans = [(model["provenance"] or {}).get("plan") or {} for (engine, _), model in models.items() if engine == _RTX]
    return [
        f"TensorRT for RTX {plan['tensorrt']} runs on an {plan['gpu']}, which NVIDIA does not support."
        for plan in plans
        if plan.get("compute_capability") == "9.0"
    ]


def _accuracy(result: dict[str, Any] | None, models: dict[tuple[str, str], dict[str, Any]]) -> list[str]:
    """Every model's accuracy, paired image by image with the first model's."""
    measured = {model["name"] for model in models.values()}
    paired = [model for model in (result or {"models": []})["models"] if model["paired"] and model["name"] in measured]
    if not paired or result is None:
        return ["Accuracy was not compared."]
    parts = []
    for model in paired:
        found = model["paired"]
        loss = "no measurable difference" if found["p_value"] >= SIGNIFICANT else "a measurable difference"
        agreement = formatting.percent(found["top1_agreement"]["value"])
        parts.append(
            f"{_title(model)} {formatting.points(found['difference'])} points, {agreement} of the answers the same, "
            f"{loss} (McNemar p = {found['p_value']:.2g})"
        )
    return [f"Accuracy, paired image by image with {_title(result['models'][0])}: {'; '.join(parts)}."]


def _fastest(result: dict[str, Any], models: dict[tuple[str, str], dict[str, Any]]) -> str:
    names = {model["name"] for model in models.values()}
    rows = [row for row in result["rows"] if row["model"] in names]
    return str(max(rows, key=lambda row: row["images_per_second"])["model"])


def _limit(end_to_end: dict[str, Any], latency: dict[str, Any] | None, name: str) -> str:
    """Whether the quickest model's seconds are the server's or the client's."""
    rows = [row for row in latency["rows"] if row["model"] == name] if latency else []
    if not rows:
        return "Whether the client was the limit was not measured: that takes the latency's loads too."
    best = max(rows, key=lambda row: row["images_per_second"]["value"])
    most = best["images_per_second"]["value"]
    reached = next(row["images_per_second"] for row in end_to_end["rows"] if row["model"] == name) / most
    load = f"batch {best['batch_size']}, {formatting.load(best)}"
    busy = f", though there too the client used {best['client_cpu']:.0%} of a core" if best["client_cpu"] > BUSY else ""
    if reached < FULL:
        return (
            f"The server was not the limit, client and load were: {name} answers {formatting.number(most)} images/s at "
            f"{load}{busy}, and end to end {reached:.0%} of that; the engines may differ by more than these ratios."
        )
    return f"The client was not the limit: end to end {name} reaches {reached:.0%} of its rate at {load}{busy}."


def _gpus(result: dict[str, Any]) -> list[str]:
    return [str(gpu) for gpu in result["environment"]["gpus"]]
