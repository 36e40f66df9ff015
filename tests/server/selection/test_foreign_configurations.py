"""Triton's reader and this project's take the same configurations for the same."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
from google.protobuf.json_format import ParseDict
from tritonclient.grpc import model_config_pb2 as pb

from console.triton_configuration import parse
from tests.support import models
from tests.support.foreign_configurations import HEAD, rows
from tests.support.triton import start_server

MODEL = "class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"


@pytest.mark.triton
@pytest.mark.slow
def test_triton_itself_takes_and_refuses_what_the_table_says(tmp_path):
    table = {f"foreign_{number}": row for number, row in enumerate(rows().values())}
    models.add_doubler(tmp_path)
    for name, (written, _) in table.items():
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "config.pbtxt").write_bytes(HEAD + written)
        (tmp_path / name / "1/model.py").write_text(MODEL)
    with start_server(tmp_path, "--load=doubler") as server:
        for name, (written, expected) in table.items():
            found = loaded(server.http, name)
            assert (found is None) is (expected is None), written
            if found:
                assert parts(found) == parts(parse(HEAD + written)), written


def loaded(http: str, name: str) -> pb.ModelConfig | None:
    """The configuration that Triton has of a model; None where it does not load it. It is unloaded again."""
    try:
        ask(f"http://{http}/v2/repository/models/{name}/load", b"{}")
    except urllib.error.HTTPError as error:
        said = error.read().decode()
        if "failed to poll from model repository" not in said:  # its words on a configuration that it cannot read
            pytest.fail(f"{name} is refused for another reason: {said}")
        return None
    found = json.loads(ask(f"http://{http}/v2/models/{name}/config"))
    ask(f"http://{http}/v2/repository/models/{name}/unload", b"{}")
    return ParseDict(found, pb.ModelConfig(), ignore_unknown_fields=True)


def ask(url: str, data: bytes | None = None) -> bytes:
    with urllib.request.urlopen(url, data, timeout=60) as answer:
        return answer.read()


def parts(config: pb.ModelConfig) -> tuple[object, ...]:
    """What the rows write; Triton fills in the rest."""
    cuda = config.optimization.cuda
    return cuda.graphs, cuda.output_copy_stream, dict(config.parameters), list(config.input)
