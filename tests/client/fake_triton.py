"""A KServe v2 gRPC server that misbehaves on request: what the real Triton does only on a bad day."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc


@dataclass
class Behaviour:
    """How the server answers.

    Attributes:
        live: what it says of itself.
        ready: the same.
        model_error: why the model cannot be used; empty when it can.
        only: the name of the single model that it has; empty for one of any name.
        index_error: why it does not give its index; empty when it does.
        load_error: why no model can be loaded; empty when one can.
        hang_on: the name of the call that is never answered.
        fail_after: requests answered before all others get UNAVAILABLE.
        limit: every so many-th request is refused as by a gateway's limit; 0 for none.
        logit: the value of every logit.
        answers: images in an answer, when not as many as were sent.
        version: of the model, as answers name it.
        hanging: set when a call has begun to hang.
        headers: what came with the last inference.
    """

    live: bool = True
    ready: bool = True
    model_error: str = ""
    only: str = ""
    index_error: str = ""
    load_error: str = ""
    hang_on: str = ""
    fail_after: float = float("inf")
    limit: int = 0
    logit: float = 0.0
    answers: int | None = None
    version: str = "1"
    hanging: threading.Event = field(default_factory=threading.Event)
    headers: dict[str, str] = field(default_factory=dict)


class _Service(service_pb2_grpc.GRPCInferenceServiceServicer):
    def __init__(self, behaviour: Behaviour, stopped: threading.Event) -> None:
        self._behaviour = behaviour
        self._stopped = stopped
        self._requests = 0

    def _enter(self, call: str) -> None:
        if call == self._behaviour.hang_on:
            self._behaviour.hanging.set()
            self._stopped.wait()

    def ServerLive(self, request, context):  # noqa: N802  KServe's names
        self._enter("ServerLive")
        return service_pb2.ServerLiveResponse(live=self._behaviour.live)

    def ServerReady(self, request, context):  # noqa: N802
        self._enter("ServerReady")
        return service_pb2.ServerReadyResponse(ready=self._behaviour.ready)

    def ServerMetadata(self, request, context):  # noqa: N802
        self._enter("ServerMetadata")
        return service_pb2.ServerMetadataResponse(name="fake", version="0")

    def ModelMetadata(self, request, context):  # noqa: N802
        self._enter("ModelMetadata")
        if self._behaviour.model_error or self._behaviour.only not in ("", request.name):
            context.abort(grpc.StatusCode.UNAVAILABLE, f"Request for unknown model: '{request.name}' is not found")
        answer = service_pb2.ModelMetadataResponse(name=request.name, versions=["1"], platform="onnxruntime_onnx")
        answer.inputs.add(name="images", datatype="UINT8", shape=[-1, 32, 32, 3])
        answer.outputs.add(name="logits", datatype="FP32", shape=[-1, 10])
        return answer

    def ModelConfig(self, request, context):  # noqa: N802
        self._enter("ModelConfig")
        answer = service_pb2.ModelConfigResponse()
        answer.config.max_batch_size = 64
        return answer

    def ModelStatistics(self, request, context):  # noqa: N802
        self._enter("ModelStatistics")
        return service_pb2.ModelStatisticsResponse()

    def RepositoryIndex(self, request, context):  # noqa: N802
        self._enter("RepositoryIndex")
        if self._behaviour.index_error:
            context.abort(grpc.StatusCode.UNAVAILABLE, self._behaviour.index_error)
        answer = service_pb2.RepositoryIndexResponse()
        answer.models.add(name="other", version="1", state="READY")
        if self._behaviour.model_error:
            answer.models.add(name="classifier", version="1", state="UNAVAILABLE", reason=self._behaviour.model_error)
        return answer

    def RepositoryModelLoad(self, request, context):  # noqa: N802
        self._enter("RepositoryModelLoad")
        if self._behaviour.load_error:
            context.abort(grpc.StatusCode.UNAVAILABLE, self._behaviour.load_error)
        return service_pb2.RepositoryModelLoadResponse()

    def ModelInfer(self, request, context):  # noqa: N802
        self._enter("ModelInfer")
        self._behaviour.headers = dict(context.invocation_metadata())
        self._requests += 1
        if self._requests > self._behaviour.fail_after:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        if self._behaviour.limit and not self._requests % self._behaviour.limit:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "")
        count = self._behaviour.answers or request.inputs[0].shape[0]
        answer = service_pb2.ModelInferResponse(model_name=request.model_name, model_version=self._behaviour.version)
        answer.outputs.add(name="logits", datatype="FP32", shape=[count, 10])
        answer.raw_output_contents.append(np.full((count, 10), self._behaviour.logit, np.float32).tobytes())
        return answer


@contextmanager
def fake_triton(behaviour: Behaviour, credentials: grpc.ServerCredentials | None = None) -> Iterator[str]:
    """Serve on a free port, with TLS where credentials are given, and yield HOST:PORT."""
    stopped = threading.Event()
    pool = ThreadPoolExecutor(8)
    server = grpc.server(pool)
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Service(behaviour, stopped), server)
    address = "localhost:0"
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    server.start()
    try:
        yield f"localhost:{port}"
    finally:
        stopped.set()
        server.stop(None).wait()
        pool.shutdown()
