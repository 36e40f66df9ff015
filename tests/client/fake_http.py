"""A KServe v2 HTTP server that gives each path the answer that it is told to, in Triton's place."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

METADATA: dict[str, Any] = {"name": "triton", "version": "2.51.0", "extensions": []}
MODEL: dict[str, Any] = {
    "name": "m",
    "versions": ["1"],
    "platform": "onnxruntime_onnx",
    "inputs": [{"name": "images", "datatype": "UINT8", "shape": [-1, 32, 32, 3]}],
    "outputs": [{"name": "logits", "datatype": "FP32", "shape": [-1, 10]}],
}
ANSWERS: dict[str, Any] = {
    "/v2": METADATA,
    "/v2/health/ready": b"",
    "/v2/health/live": b"",
    "/v2/models/m": MODEL,
    "/v2/models/m/versions/1": MODEL,
    "/v2/models/m/versions/1/config": {"name": "m", "max_batch_size": 64, "dynamic_batching": {}},
    "/v2/models/stats": {"model_stats": [{"name": "m", "version": "1", "inference_count": 3}]},
    "/v2/repository/index": [{"name": "m", "version": "1", "state": "READY"}],
}
"""Of a good server; what is no bytes is sent as JSON, an int is an error's status, and may come with content
and headers; a function gives one of these anew for each request."""

UNKNOWN = b'{"error":"Request for unknown model: is not found"}'


@contextmanager
def fake_http(changed: Mapping[str, Any]) -> Iterator[str]:
    """Serve `ANSWERS` with changes on a free port, and yield HOST:PORT; other paths are models that are not there."""
    answers = {**ANSWERS, **changed}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = answers.get(self.path, (400, UNKNOWN))
            answer = answer() if callable(answer) else answer
            answer = (answer, b"") if isinstance(answer, int) else answer
            status, content, *headers = answer if isinstance(answer, tuple) else (200, answer)
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers[0] if headers else {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  http.server's name

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
