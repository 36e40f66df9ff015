"""Where requests spent their time in the server, by its own counters: differences over a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from client.connection import Model

_PARTS = ("queue", "compute_input", "compute_infer", "compute_output")


@dataclass(frozen=True)
class ServerTimes:
    """What Triton counted for one model during a window; times are means a request, in ms.

    Attributes:
        requests: answered.
        failed: answered with an error, or rejected by the queue.
        images: in the answered requests.
        executions: batches that the model ran.
        total_ms: from the request's arrival to its answer.
        queue_ms: waiting for a batch and an instance.
        compute_input_ms: gathering the batch.
        compute_infer_ms: running it; each request of a batch counts the whole batch's time.
        compute_output_ms: handing the answers out.
        other_requests: answered by other models meanwhile.
    """

    requests: int
    failed: int
    images: int
    executions: int
    total_ms: float
    queue_ms: float
    compute_input_ms: float
    compute_infer_ms: float
    compute_output_ms: float
    other_requests: int

    @property
    def mean_batch(self) -> float:
        """Images an execution, which dynamic batching makes larger than a request."""
        return self.images / self.executions if self.executions else 0.0


def between(before: list[dict[str, Any]], after: list[dict[str, Any]], model: Model) -> ServerTimes:
    """The difference of two `Control.statistics`.

    A request whose answer is on the way may be missing from the counters for a moment, so counts can be off by the
    number of requests in flight; the means are of those counted.
    """
    counts = {"success": 0, "fail": 0, "images": 0, "executions": 0}
    nanoseconds = dict.fromkeys(("success", *_PARTS), 0)
    others = 0
    earlier = {_whose(entry): entry for entry in before}
    for entry in after:
        old = earlier.get(_whose(entry), {})
        if _whose(entry) != (model.name, model.version):
            others += _count(entry, "success") - _count(old, "success")
            continue
        for name in ("success", "fail"):
            counts[name] = _count(entry, name) - _count(old, name)
        counts["images"] = _number(entry, "inference_count") - _number(old, "inference_count")
        counts["executions"] = _number(entry, "execution_count") - _number(old, "execution_count")
        for name in nanoseconds:
            nanoseconds[name] = _count(entry, name, "ns") - _count(old, name, "ns")
    requests = counts["success"]
    means = {name: value / max(requests, 1) / 1e6 for name, value in nanoseconds.items()}
    return ServerTimes(
        requests=requests,
        failed=counts["fail"],
        images=counts["images"],
        executions=counts["executions"],
        total_ms=means["success"],
        queue_ms=means["queue"],
        compute_input_ms=means["compute_input"],
        compute_infer_ms=means["compute_infer"],
        compute_output_ms=means["compute_output"],
        other_requests=others,
    )


def _whose(entry: dict[str, Any]) -> tuple[str, str]:
    return entry.get("name", ""), entry.get("version", "")


def _count(entry: dict[str, Any], name: str, field: str = "count") -> int:
    # protobuf's JSON leaves zeros and empty text out and writes 64-bit numbers as text
    return int(entry.get("inference_stats", {}).get(name, {}).get(field, 0))


def _number(entry: dict[str, Any], name: str) -> int:
    return int(entry.get(name, 0))
