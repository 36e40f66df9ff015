"""From a configuration and a plan to an executor that is ready, or to the reason why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from configuration import Config, model_file
from cuda_calls import Gpu
from engine_facts import EngineFacts
from files import path_of
from graph_specs import graph_specs
from plan_checks import check_before_loading, check_tensors, profile_numbers, without_effect
from plan_executor import PlanExecutor
from plan_library import MODEL_FILE, Library, describe
from provenance_check import check_published
from reference_check import check_owner
from runtime_cache import RuntimeCache


def open_plan(args: dict[str, str], config: Config) -> tuple[Path, PlanExecutor, list[str], str]:
    """Load a model as NVIDIA's C++ backend does: what it refuses is refused, before its answers could be wrong.

    Args:
        args: Triton's description of the instance.
        config: the model's.

    Returns:
        the plan's file, what runs it, what is worth a line in the log, and what is worth a warning; empty for nothing.

    Raises:
        ValueError: the model cannot be served as configured.
    """
    check_before_loading(config, args["model_instance_kind"], args["model_instance_name"])
    gpu = Gpu(int(args["model_instance_device_id"]))
    directory = path_of(args["model_repository"]).resolve()
    path = model_file(directory, args["model_version"], {"default_model_filename": _name(config, gpu)}, MODEL_FILE)
    changed = check_published(path, directory / args["model_version"])
    check_owner(path, config)
    library = Library(str(config.get("backend", "")))
    engine = library.load(path, gpu)
    facts = describe(library.trt, engine)
    numbers = profile_numbers(config, args["model_instance_name"], facts)
    check_tensors(config, facts, [facts.profiles[number] for number in numbers])
    specs = graph_specs(config)
    cache = RuntimeCache(config, path, library.version, gpu)
    executor = PlanExecutor(gpu, engine, facts, numbers, config, lambda: _runtime_config(library.trt, engine, cache))
    prepared = executor.prepare(specs)
    lines = [
        f"{library.version} on {gpu.name}: batch sizes {prepared.sizes}, CUDA graphs for {prepared.graphs}",
        *prepared.lines,
        *(f"{name} changes nothing here" for name in without_effect(config)),
        *filter(None, [cache.save()]),
    ]
    return path, executor, lines, changed


def describe_plan(path: Path, config: Config) -> EngineFacts:
    """What the engine in a plan says of itself.

    Args:
        path: the plan.
        config: the model's.

    Raises:
        ValueError: it cannot be loaded here.
    """
    gpus = [int(number) for group in config.get("instance_group", []) for number in group.get("gpus", [])]
    gpu = Gpu(gpus[0] if gpus else 0)
    named = path.with_name(str(path_of(_name(config, gpu) or path.name)))
    check_published(named)
    library = Library(str(config.get("backend", "")))
    try:
        return describe(library.trt, library.load(named, gpu))
    except (OSError, ValueError) as error:
        raise ValueError(f"the plan cannot be read to complete the configuration: {error}") from None


def _name(config: Config, gpu: Gpu) -> str:
    """The plan's file name: for this compute capability, if `cc_model_filenames` has one."""
    names = config.get("cc_model_filenames", {})
    return str(names.get(".".join(map(str, gpu.capability))) or config.get("default_model_filename") or "")


def _runtime_config(trt: Any, engine: Any, cache: RuntimeCache) -> Any:
    """Kernels compiled before the first request, not in its background: an execution takes the same time each time."""
    if not hasattr(trt, "DynamicShapesKernelSpecializationStrategy"):
        return None
    settings = engine.create_runtime_config()
    settings.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
    cache.use(settings)
    return settings
