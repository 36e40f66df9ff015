"""Every configuration that the builder writes for a plan, in every place, is served as it stands."""

from __future__ import annotations

import pytest
from google.protobuf.json_format import MessageToDict

from builder.signature import BATCH_SIZES
from console.triton_configuration import parse
from tests.builder.triton_config.test_config_pbtxt import GOLDENS
from tests.server.backends.tensorrt.test_decisions import described

PLANS = sorted(path for path in GOLDENS.rglob("*.pbtxt") if "tensorrt" in path.relative_to(GOLDENS).parts[0])


def test_there_are_plans_of_both_libraries():
    names = {path.relative_to(GOLDENS).parts[0] for path in PLANS}
    assert {"resnet18_tensorrt", "resnet18_tensorrt_rtx"} <= names


@pytest.mark.parametrize("path", PLANS, ids=lambda path: str(path.relative_to(GOLDENS)))
def test_a_golden_configuration_is_served_with_all_its_graphs(path, backend):
    checks, specs = backend("plan_checks"), backend("graph_specs")
    config = MessageToDict(parse(path.read_text()), preserving_proto_field_name=True)
    facts = described(backend("engine_facts"), "base")
    checks.check_before_loading(config, "GPU", f"{config['name']}_0_0")
    checks.check_tensors(config, facts, list(facts.profiles))
    captured = [specs.graph_shapes(spec, facts, 0)["images"][0] for spec in specs.graph_specs(config)]
    assert tuple(captured) == BATCH_SIZES.sizes
    assert checks.without_effect(config) == []
