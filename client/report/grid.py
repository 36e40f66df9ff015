"""Engine x precision: what each of the two changes by itself."""

from __future__ import annotations

from typing import Any

from client.statistics import formatting

_ENGINES = {"onnxruntime_onnx": "ONNX Runtime", "tensorrt_plan": "TensorRT"}
_PRECISIONS = {"fp32": "FP32", "fp16": "FP16"}


def grid(results: list[dict[str, Any]]) -> tuple[list[str], list[list[str]], str] | None:
    """Columns, rows and caption of the 2x2 table of throughputs; None unless all four were measured side by side.

    The load with the most images a second of any model is shown.
    """
    for result in results:
        if result["command"] != "latency":
            continue
        places: dict[tuple[str, str | None], str] = {}
        for model in result["models"]:
            place = (model["platform"], (model["provenance"] or {}).get("precision"))
            places.setdefault(place, model["name"])  # of several versions the first
        wanted = [(engine, precision) for precision in _PRECISIONS for engine in _ENGINES]
        if not all(place in places for place in wanted):
            continue
        best = max(result["rows"], key=lambda row: row["images_per_second"]["value"])
        load = tuple(best[name] for name in ("batch_size", "concurrency", "rate"))
        measured = {
            row["model"]: row["images_per_second"]
            for row in result["rows"]
            if tuple(row[name] for name in ("batch_size", "concurrency", "rate")) == load
        }
        if not all(places[place] in measured for place in wanted):
            continue
        rate = {place: measured[places[place]] for place in wanted}
        onnx, tensorrt = _ENGINES
        rows = [
            [_PRECISIONS[precision], *(formatting.interval(rate[engine, precision]) for engine in _ENGINES),
             _ratio(rate[tensorrt, precision], rate[onnx, precision])]
            for precision in _PRECISIONS
        ]  # fmt: skip
        gains = [_ratio(rate[engine, "fp16"], rate[engine, "fp32"]) for engine in _ENGINES]
        rows.append(["FP16 / FP32", *gains, _ratio(rate[tensorrt, "fp16"], rate[onnx, "fp32"]) + " (both)"])
        caption = (
            f"Images/s at batch {best['batch_size']}, {formatting.load(best)}, where the fastest model is fastest."
        )
        return ["", *_ENGINES.values(), "TensorRT / ONNX Runtime"], rows, caption
    return None


def _ratio(one: dict[str, Any], other: dict[str, Any]) -> str:
    return f"{one['value'] / other['value']:.2f}x"
