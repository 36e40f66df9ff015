"""Inference over gRPC: a request's bytes are made once and sent any number of times, without waiting for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2

from cifar10 import CLASS_NAMES
from client.connection import explain
from client.connection.control import channel_options
from client.connection.endpoint import Endpoint, Tls
from client.connection.model import INPUT, OUTPUT, Model
from client.errors import ClientError, WrongShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from client.connection.shared_memory import Slot

_METHOD = "/inference.GRPCInferenceService/ModelInfer"


class GrpcTransport:
    """A channel of its own: tritonclient's `infer` builds the message anew for each call, which costs throughput.

    Args:
        endpoint: where the server is.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        options = channel_options(endpoint)
        if endpoint.tls is None:
            self._channel = grpc.insecure_channel(endpoint.url, options)
        else:
            self._channel = grpc.secure_channel(endpoint.url, _credentials(endpoint.tls), options)
        self._infer: Any = self._channel.unary_unary(
            _METHOD, request_serializer=None, response_deserializer=service_pb2.ModelInferResponse.FromString
        )
        self._metadata = endpoint.headers

    def body(self, model: Model, images: NDArray[np.uint8], slot: Slot | None) -> bytes:
        """A serialised request; with a slot the images go there instead of into the message."""
        request = service_pb2.ModelInferRequest(model_name=model.name, model_version=model.version)
        tensor = request.inputs.add(name=INPUT[0], datatype=INPUT[1], shape=images.shape)
        output = request.outputs.add(name=OUTPUT[0])
        if slot is None:
            request.raw_input_contents.append(images.tobytes())
        else:
            slot.write(images)
            for part, region in ((tensor, slot.input_name), (output, slot.output_name)):
                part.parameters["shared_memory_region"].string_param = region
            tensor.parameters["shared_memory_byte_size"].int64_param = images.nbytes
            output.parameters["shared_memory_byte_size"].int64_param = slot.output_bytes(len(images))
        return bytes(request.SerializeToString())

    def send(self, body: bytes, done: Callable[[Any, ClientError | None], None]) -> None:
        """Send a request; `done` gets the response or the error, on gRPC's thread."""
        call = self._infer.future(body, timeout=self._endpoint.timeout, metadata=self._metadata)
        call.add_done_callback(lambda call: self._finish(call, done))

    def logits(self, response: Any, images: int, slot: Slot | None) -> NDArray[np.float32]:
        """The answer, FP32 [images, 10], of a response that `check` let pass."""
        if slot is not None:
            return slot.read(images)
        return np.frombuffer(response.raw_output_contents[0], np.float32).reshape(images, len(CLASS_NAMES))

    def check(self, response: Any, images: int, *, in_slot: bool) -> None:
        """See that the answer has the shape it should have.

        Raises:
            WrongShapeError: it has not.
        """
        expected = [images, len(CLASS_NAMES)]
        found = [list(output.shape) for output in response.outputs]
        sizes = [len(content) for content in response.raw_output_contents]
        if found != [expected] or not (in_slot or sizes == [4 * images * len(CLASS_NAMES)]):
            raise WrongShapeError(f"expected logits of shape {expected}, found {found} in {sizes} bytes")

    def version(self, response: Any) -> str:
        """Of the model that answered; empty where the response does not say."""
        return str(response.model_version)

    def close(self) -> None:
        """Close the channel; requests in flight are cancelled."""
        self._channel.close()

    def _finish(self, call: Any, done: Callable[[Any, ClientError | None], None]) -> None:
        code = call.code()
        if code is grpc.StatusCode.OK:
            done(call.result(), None)
        else:
            done(None, explain.explained(self._endpoint, code.name, call.details() or ""))


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    key, certificate = (file.read_bytes() if file else None for file in (tls.key, tls.certificate))
    return grpc.ssl_channel_credentials(tls.ca.read_bytes(), key, certificate)
