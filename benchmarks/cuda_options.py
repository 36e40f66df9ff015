"""Which options of ONNX Runtime's CUDA provider are fastest, on this GPU, for each model and batch size.

    .venv-server/bin/python benchmarks/cuda_options.py --output benchmarks/results/cuda-options.json

One session after another as the embedded server's backend makes it, run through the backend's own executor: images come
from host memory, logits go back there. No Triton, no network: what is left is the provider. `first run` is the time
that a batch size takes when it is met for the first time, which is when cuDNN searches and a CUDA graph is captured.
Needs onnxruntime-gpu in the server's environment.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), *(str(ROOT / "server/backends" / folder) for folder in ("onnxruntime", "shared"))]

import onnxruntime  # noqa: E402
from binding import BoundExecutor  # noqa: E402  the backend's modules lie in a directory, not in a package
from gpu_memory import CudaMemory  # noqa: E402
from providers import CUDA  # noqa: E402
from session import open_session  # noqa: E402

from builder.publishing.versions import published_versions  # noqa: E402  the project is run from its folder, not installed
from client.results import environment  # noqa: E402


def combinations(*, half: bool) -> list[dict[str, str]]:
    """What is tried: cuDNN's search, channels last, CUDA graphs, and for FP32 the tensor cores' TF32.

    The search DEFAULT, which means one fixed algorithm for all, once only.
    """
    names = "cudnn_conv_algo_search", "prefer_nhwc", "enable_cuda_graph", "use_tf32"
    tried = [*itertools.product(("EXHAUSTIVE", "HEURISTIC"), "01", "01", "1" if half else "01"), ("DEFAULT", *"001")]
    return [dict(zip(names, values, strict=True)) for values in tried]


def measure(path: Path, options: dict[str, str], sizes: list[int], seconds: float) -> list[dict[str, float]]:
    """Load one session and measure it at each batch size: {batch_size, first_run_ms, images_per_second}."""
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.intra_op_num_threads = 1
    session = open_session(path, settings, [(CUDA, options)])
    failed = functools.partial(sys.exit, "no CUDA graph can hold this model")
    executor = BoundExecutor(session, CudaMemory(0), sizes, {}, failed if options["enable_cuda_graph"] == "1" else None)
    rows = []
    for size in sizes:
        batch = np.random.default_rng(size).integers(0, 256, (size, 32, 32, 3), np.uint8)
        begin = time.perf_counter()
        executor.run(["logits"], [{"images": batch}])
        first = time.perf_counter() - begin
        for _ in range(5):  # a graph is captured at an early run
            executor.run(["logits"], [{"images": batch}])
        count, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < seconds:
            executor.run(["logits"], [{"images": batch}])
            count += 1
        rate = count * size / (time.perf_counter() - begin)
        rows.append({"batch_size": size, "first_run_ms": 1000 * first, "images_per_second": rate})
    return rows


def main() -> None:
    """Measure, print, and write the figures where --output says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository")
    parser.add_argument("--models", default="resnet18_onnx,resnet18_onnx_fp16")
    parser.add_argument("--batch-sizes", default="1,8,64,256")
    parser.add_argument("--seconds", type=float, default=0.3, help="of each measurement")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    if CUDA not in onnxruntime.get_available_providers():
        sys.exit("this ONNX Runtime has no CUDA provider: install onnxruntime-gpu in the server's environment")
    onnxruntime.preload_dlls()
    onnxruntime.set_default_logger_severity(3)
    sizes = [int(size) for size in arguments.batch_sizes.split(",")]
    results = []
    for name in arguments.models.split(","):
        newest = published_versions(arguments.repository / name)[-1]
        path = arguments.repository / name / str(newest) / "model.onnx"
        for options in combinations(half="fp16" in name):
            rows = measure(path, options, sizes, arguments.seconds)
            results.append({"model": name, "options": options, "rows": rows})
            said = "  ".join(f"{row['batch_size']}: {row['images_per_second']:8,.0f} ({row['first_run_ms']:6.0f} ms)"
                             for row in rows)  # fmt: skip
            print(f"{name:19} {' '.join(options.values()):16} {said}", flush=True)
    print(f"options: {', '.join(options)}")
    gpu = "; ".join(environment()["gpus"])
    print(f"images/s by batch size (first run); {gpu}; ONNX Runtime {onnxruntime.__version__}, {date.today()}")
    if arguments.output:
        result = {"date": str(date.today()), "gpu": gpu, "onnxruntime": onnxruntime.__version__, "results": results}
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
