"""TensorRT 10 and 11 behind one code path: find it, build with it, ask an engine what it is, run one.

TensorRT objects carry annotations that name their class (`network: trt.INetworkDefinition`). A type checker cannot use
them without TensorRT; `tests/builder/tensorrt/test_contract.py` does: it holds every attribute taken from such an
object against the real bindings of both major versions.
"""
