"""Every TensorRT name this project uses exists in the real bindings of TensorRT 10 and 11, and in no version by luck.

There is no version switch: the code takes nothing that one of them lacks. What only TensorRT for RTX has is listed, and
used only for a library that is described as portable.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from builder.tensorrt.library import TENSORRT_RTX
from tests.support import fake_tensorrt
from tests.support.tensorrt_bindings import PROBE, VERSIONS, Bindings
from tests.support.tensorrt_rtx import VERSIONS as RTX_VERSIONS
from tests.support.tensorrt_rtx import run_python
from tests.support.tensorrt_usage import collect, project_files

ROOT = Path(__file__).parents[3]
HEADER = "import tensorrt as trt\n"
PORTABLE_ONLY = (
    "ComputeCapability",
    "EngineInvalidityDiagnostics",
    "EngineValidity",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
    "Runtime.get_engine_validity",
)
"""How names begin that only TensorRT for RTX has."""


@pytest.fixture(scope="module", params=VERSIONS)
def bindings(request):
    return Bindings(request.param)


@pytest.fixture(scope="module")
def usage():
    return collect(project_files(ROOT))


def test_every_name_in_use_exists(bindings, usage):
    missing = [path for path in bindings.missing(list(usage.names)) if not path.startswith(PORTABLE_ONLY)]
    assert not missing, {path: usage.names[path] for path in missing}


@pytest.mark.parametrize("version", RTX_VERSIONS)
def test_every_name_in_use_exists_in_tensorrt_for_rtx(version, usage):
    probe = PROBE.replace("tensorrt_bindings", TENSORRT_RTX.modules[-1])
    done = run_python(version, "-c", probe, given=json.dumps(list(usage.names)))
    assert done.returncode == 0, done.stderr
    missing = json.loads(done.stdout)["missing"]
    assert not missing, {path: usage.names[path] for path in missing}


def test_the_search_sees_what_a_build_needs(usage):
    assert {
        "Builder.build_serialized_network",
        "BuilderFlag.VERSION_COMPATIBLE",
        "HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY",
        "IBuilderConfig.builder_optimization_level",
        "IBuilderConfig.set_timing_cache",
        "ICudaEngine.get_tensor_profile_shape",
        "EngineInspector.execution_context",
        "IExecutionContext.execute_async_v3",
        "ILogger.Severity.VERBOSE",
        "ILogger.log",
        "IProgressMonitor.step_complete",
        "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
        "OnnxParser.parse",
        "ParserError.node_name",
    } <= set(usage.names)


def test_nothing_is_taken_from_an_object_whose_class_is_not_known(usage):
    assert usage.unchecked == []


@pytest.mark.parametrize("version", RTX_VERSIONS[1:])
def test_every_name_that_the_server_takes_exists_in_tensorrt_for_rtx(version):
    """The server's backend has no annotations to follow; what it takes from the module itself is held against it."""
    source = "".join(path.read_text() for path in (ROOT / "server").rglob("*.py"))
    names = sorted(set(re.findall(r"\btrt\.([A-Z][\w.]*\w)", source)))
    assert "Runtime" in names
    done = run_python(
        version, "-c", PROBE.replace("tensorrt_bindings", TENSORRT_RTX.modules[-1]), given=json.dumps(names)
    )
    assert json.loads(done.stdout)["missing"] == []


def test_tensorrt_is_used_only_where_the_search_looks():
    named = {
        str(path.relative_to(ROOT))
        for package in ("builder", "benchmarks", "cifar10", "client", "console")
        for path in (ROOT / package).rglob("*.py")
        if "trt." in path.read_text()
    }
    assert named - {"builder/tensorrt/__init__.py"} <= set(project_files(ROOT))


MISSPELT = {
    "INetworkDefinition.get_leyer": "def f(network: trt.INetworkDefinition): network.get_leyer(0)",
    "IBuilderConfig.optimisation": "def f(config: trt.IBuilderConfig): config.optimisation = 3",
    "BuilderFlag.VERSION_COMPATIBEL": "def f(tensorrt): return tensorrt.BuilderFlag.VERSION_COMPATIBEL",
    "Bilder": "def f(tensorrt, log): return tensorrt.Bilder(log)",
    "IBilder": "def f(builder: trt.IBilder): pass",
    "IProgressMonitor.fase_start": "def f(tensorrt):\n class M(tensorrt.IProgressMonitor):\n  def fase_start(_): 0",
    "ICudaEngine.num_layer": "class A:\n _engine: trt.ICudaEngine\n def f(self): self._engine.num_layer",
    "Runtime.deserialise": "def g() -> trt.Runtime: ...\ndef f(): g().deserialise(b'')",
    "ParserError.nodename": "def f(errors: list[trt.ParserError]): return [error.nodename() for error in errors]",
}


@pytest.mark.parametrize(("name", "source"), MISSPELT.items(), ids=MISSPELT)
def test_a_misspelt_name_is_found(bindings, name, source):
    names = list(collect({"planted.py": HEADER + source}).names)
    assert bindings.missing(names) == [name]


@pytest.mark.parametrize("name", ["BuilderFlag.FP16", "NetworkDefinitionCreationFlag.EXPLICIT_BATCH"])
def test_a_name_that_tensorrt_11_dropped_is_found(bindings, name):
    names = list(collect({"planted.py": f"{HEADER}def f(tensorrt): return tensorrt.{name}"}).names)
    assert bindings.missing(names) == ([] if bindings.version.startswith("10.") else [name])


def test_a_result_without_annotation_is_reported():
    source = "def f(config: trt.IBuilderConfig): return config.get_timing_cache().serialise()"
    (where,) = collect({"planted.py": HEADER + source}).unchecked
    assert where.startswith("planted.py:2: .serialise of config.get_timing_cache()")


def test_the_fake_has_nothing_that_the_real_bindings_lack(bindings):
    members = fake_tensorrt.members()
    assert len(members) > 60
    assert bindings.missing(members) == []


OWN_CLASSES = """
import logging
from rich.progress import Progress
from builder.errors import TensorRTError
from builder.signature import BATCH_SIZES
from builder.tensorrt.log import errors_of, make_logger
from builder.tensorrt.machine import Gpu, load_library
from builder.tensorrt.progress import Cancellation, make_monitor
from builder.tensorrt.plan import compile_plan
from builder.variants import Precision

tensorrt = load_library()
assert tensorrt.__name__ == "tensorrt_bindings"
log = make_logger(tensorrt)
for severity in tensorrt.ILogger.Severity.__members__.values():
    log.log(severity, f"as {severity.name}")
assert errors_of(log) == "as INTERNAL_ERROR; as ERROR", errors_of(log)
cancellation = Cancellation()
monitor = make_monitor(tensorrt, cancellation, Progress(disable=True))
monitor.phase_start("build", None, 3)
assert monitor.step_complete("build", 0) is True
cancellation._asked.set()
assert monitor.step_complete("build", 1) is False
monitor.phase_finish("build")
assert tuple(tensorrt.Dims((-1, 32, 32, 3))) == (-1, 32, 32, 3)
try:
    compile_plan(tensorrt, Gpu("none", "0.0", None), b"", BATCH_SIZES, Precision.FP16)
except TensorRTError as error:
    print(error)
"""


def test_own_loggers_and_monitors_are_tensorrt_s_and_a_builder_that_cannot_start_is_one_line(bindings):
    assert bindings.run(OWN_CLASSES).startswith("TensorRT cannot start on this machine: ")
