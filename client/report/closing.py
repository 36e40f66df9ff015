"""The last sentence of a comparison: how many times as fast, at what difference in accuracy."""

from __future__ import annotations

from typing import Any

from client.statistics import formatting


def closing(results: list[dict[str, Any]]) -> str:
    """One sentence for each model beside the first; empty where nothing was compared, or an answer was wrong.

    Args:
        results: of `accuracy` and `latency`, and of `check` where it ran.
    """
    by_command = {result["command"]: result for result in results}
    if any(not check["passed"] for check in by_command.get("check", {}).get("checks", [])):
        return ""
    speeds = _speeds(by_command.get("latency"))
    accuracies = _accuracies(by_command.get("accuracy"))
    return " ".join(
        f"{name} {', '.join(part for part in (speeds.get(name), accuracies.get(name)) if part)}."
        for name in dict.fromkeys((*speeds, *accuracies))
    )


def _speeds(latency: dict[str, Any] | None) -> dict[str, str]:
    """By model: under each batch size's first load, how many times as many images a second as the first model's."""
    found: dict[str, dict[int, str]] = {}
    baselines: dict[str, str] = {}
    for ratio in latency["ratios"] if latency else []:
        name, size = ratio["model"], ratio["batch_size"]
        baselines[name] = ratio["baseline"]
        found.setdefault(name, {}).setdefault(size, f"{formatting.times(ratio['throughput'])} at batch {size}")
    return {
        name: f"answers {_listed(list(sizes.values()))} as many images a second as {baselines[name]}"
        for name, sizes in found.items()
    }


def _accuracies(accuracy: dict[str, Any] | None) -> dict[str, str]:
    """By model beside the first: its accuracy less the first one's, or, without labels, its agreement with PyTorch."""
    if accuracy is None:
        return {}
    return {model["name"]: text for model in accuracy["models"][1:] if (text := _accuracy(model, accuracy["data"]))}


def _accuracy(model: dict[str, Any], data: dict[str, Any]) -> str:
    if model["paired"] and model["accuracy"]:
        difference = formatting.points(model["paired"]["difference"])
        return (
            f"at a difference in accuracy of {difference} points on {model['accuracy']['total']:,} test images of "
            f"{data['name']}"
        )
    if reference := model["reference"]:
        agreement = formatting.percent(reference["top1_agreement"])
        return (
            f"and gives {agreement} of {reference['images']:,} SYNTHETIC IMAGES PyTorch's class, "
            "for want of labelled ones"
        )
    return ""


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
