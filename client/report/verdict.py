"""The answer before everything else: how accurate, how fast, and at what cost."""

from __future__ import annotations

from typing import Any

from client.checks import plans_anew
from client.statistics import formatting

SIGNIFICANT = 0.05
"""McNemar's p below which two models are called differently accurate."""


def verdict(results: list[dict[str, Any]]) -> str:
    """One sentence a question that the results answer."""
    by_command = {result["command"]: result for result in results}
    sentences = _check(by_command.get("check"))
    if accuracy := by_command.get("accuracy"):
        sentences += _accuracy(accuracy)
    speeds = _speeds(by_command.get("end-to-end"), by_command.get("latency"))
    sentences += speeds or _latency(by_command.get("latency")) or _perf_analyzer(by_command.get("perf-analyzer"))
    if (probe := by_command.get("probe")) and not sentences:
        sentences += [f"{plans_anew.sentence(found)}." for found in probe["rows"]]
    return " ".join(sentences) or "Nothing was measured."


def _check(result: dict[str, Any] | None) -> list[str]:
    if result is None:
        return []
    wrong = [check["model"] for check in result["checks"] if not check["passed"]]
    if wrong:
        return [f"WRONG ANSWERS: {', '.join(wrong)} must not be used, and {_its(wrong)} figures do not count."]
    images = sum(check["images"] for check in result["checks"])
    return [f"All {images:,} answers that were checked belong to their images."]


def _its(names: list[str]) -> str:
    return "its" if len(names) == 1 else "their"


def _accuracy(result: dict[str, Any]) -> list[str]:
    first, *others = result["models"]
    if not first["accuracy"]:
        reference = first["reference"]
        return [
            f"No accuracy was measured, for want of labelled images: {first['name']} gives "
            f"{formatting.percent(reference['top1_agreement'])} of {reference['images']:,} synthetic images "
            "PyTorch's class."
        ]
    found = first["accuracy"]
    sentences = [
        f"{first['name']} classifies {formatting.proportion(found)} of {found['total']:,} test images of "
        f"{result['data']['name']} correctly."
    ]
    for model in others:
        paired = model["paired"]
        difference = formatting.points(paired["difference"])
        if paired["p_value"] < SIGNIFICANT:
            change = "more" if paired["difference"]["value"] > 0 else "less"
            judged = (
                f"{change} accurate than {first['name']}: {difference} points (McNemar p = {paired['p_value']:.2g})"
            )
        else:
            judged = f"not measurably different in accuracy: {difference} points (McNemar p = {paired['p_value']:.2g})"
        sentences.append(f"{model['name']} is {judged}.")
    return sentences


def _speeds(end_to_end: dict[str, Any] | None, latency: dict[str, Any] | None) -> list[str]:
    if end_to_end and end_to_end["ratios"]:
        seconds = {row["model"]: formatting.number(row["seconds"]["value"]) for row in end_to_end["rows"]}
        return [
            f"{ratio['model']} takes {seconds[ratio['model']]} s for {end_to_end['data']['images']:,} images, "
            f"{ratio['baseline']} {seconds[ratio['baseline']]} s: {formatting.times(ratio['speedup'])} "
            f"{_faster(ratio['speedup'])}."
            for ratio in end_to_end["ratios"]
        ]
    if not latency:
        return []
    sentences = []
    for name in dict.fromkeys(ratio["model"] for ratio in latency["ratios"]):
        ratios = [ratio for ratio in latency["ratios"] if ratio["model"] == name]
        low, high = (select(ratios, key=lambda ratio: ratio["throughput"]["value"]) for select in (min, max))
        span = formatting.times(high["throughput"])
        if low is not high:
            span = f"{formatting.times(low['throughput'])} to {span}"
        sentences.append(f"{name} has {span} the throughput of {high['baseline']}, depending on the load.")
    return sentences


def _latency(result: dict[str, Any] | None) -> list[str]:
    if not result:
        return []
    quickest = min(result["rows"], key=lambda row: row["latency_ms"]["p50"])
    fastest = max(result["rows"], key=lambda row: row["images_per_second"]["value"])
    return [
        f"It answers within {formatting.number(quickest['latency_ms']['p50'])} ms (median, "
        f"batch {quickest['batch_size']}, {formatting.load(quickest)}) and classifies up to "
        f"{formatting.number(fastest['images_per_second']['value'])} images/s "
        f"(batch {fastest['batch_size']}, {formatting.load(fastest)})."
    ]


def _perf_analyzer(result: dict[str, Any] | None) -> list[str]:
    measured = [row for row in result["rows"] if row["perf_analyzer"]["images_per_second"]] if result else []
    if not measured:
        return []
    best = max(measured, key=lambda row: row["perf_analyzer"]["images_per_second"])
    rate = formatting.number(best["perf_analyzer"]["images_per_second"])
    return [f"perf_analyzer measures up to {rate} images/s (batch {best['batch_size']}, {formatting.load(best)})."]


def _faster(speedup: dict[str, Any]) -> str:
    if speedup["low"] is None:
        return "as fast, from a single round"
    if speedup["low"] <= 1 <= speedup["high"]:
        return "as fast, which is no measurable difference"
    return "as fast"
