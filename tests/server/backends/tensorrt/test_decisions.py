"""What is decided of a configuration from the engine's description alone, held against NVIDIA's C++ backend.

The same table runs against real engines on a GPU: gpu/test_outcomes.py.
"""

from __future__ import annotations

import pytest
from google.protobuf.json_format import MessageToDict

from tests.server.backends.tensorrt.configurations import ENGINES, ROWS, Row

DECIDED = [row for row in ROWS if not row.core and row.engine in ENGINES]


def described(facts, engine: str):
    """The facts of one of ENGINES."""
    profiles = tuple({"images": facts.Range(*((size, 32, 32, 3) for size in sizes))} for sizes in ENGINES[engine])
    batch = 64 if engine == "static64" else -1
    tensors = (
        facts.EngineTensor("images", True, "TYPE_UINT8", (batch, 32, 32, 3)),
        facts.EngineTensor("logits", False, "TYPE_FP32", (batch, 10)),
    )
    return facts.EngineFacts(tensors, profiles)


def as_triton_passes_it(row: Row) -> dict:
    """The configuration as a Python model gets it: JSON, completed by Triton's core."""
    config = MessageToDict(row.config, preserving_proto_field_name=True)
    config.setdefault("max_batch_size", 0)
    groups = config.setdefault("instance_group", [{}])
    for number, group in enumerate(groups):
        group.setdefault("name", f"{row.name}_{number}")
        if group.setdefault("kind", "KIND_AUTO") == "KIND_AUTO":
            group["kind"] = "KIND_GPU"
    return config


class Decided:
    """The backend's modules, and what they make of a row."""

    def __init__(self, backend) -> None:
        self.checks, self.specs = backend("plan_checks"), backend("graph_specs")
        self.facts, self.completion = backend("engine_facts"), backend("plan_completion")

    def graphs(self, row: Row) -> tuple[int, ...]:
        """The batch sizes that get a graph; raises ValueError where the row is refused."""
        config, facts = as_triton_passes_it(row), described(self.facts, row.engine)
        if row.auto_complete:
            self.completion.complete(config, facts)
        instance = f"{row.name}_0_0"
        self.checks.check_before_loading(config, config["instance_group"][0]["kind"].removeprefix("KIND_"), instance)
        numbers = self.checks.profile_numbers(config, instance, facts)
        profiles = {number: facts.profiles[number] for number in numbers}
        self.checks.check_tensors(config, facts, list(profiles.values()))
        captured = [
            self._captured(spec, facts, number) for spec in self.specs.graph_specs(config) for number in numbers
        ]
        for sample in config.get("model_warmup", []):
            shape = (sample["batch_size"], 32, 32, 3)
            try:
                self.facts.nearest_profile(profiles, {"images": shape})
            except ValueError as error:
                raise ValueError(f"failed to run warmup sample '{sample['name']}': {error}") from None
        return tuple(sorted(set(filter(None, captured))))

    def _captured(self, spec, facts, number: int) -> int:
        try:
            self.specs.graph_shapes(spec, facts, number)
        except ValueError:
            return 0
        return spec.batch_size


@pytest.fixture
def decided(backend) -> Decided:
    return Decided(backend)


def test_the_table_is_the_official_one():
    assert len(ROWS) == 105
    assert len({row.name for row in ROWS}) == 105
    assert sum(bool(row.differs) for row in ROWS) <= 5


@pytest.mark.parametrize("row", DECIDED, ids=lambda row: row.name)
def test_a_plan_is_served_or_refused_as_the_container_does(row: Row, decided):
    if row.refused:
        with pytest.raises(ValueError, match=row.refused):
            decided.graphs(row)
    else:
        graphs = decided.graphs(row)
        assert row.graphs is None or graphs == row.graphs


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sequence_batching": {}}, "sequence_batching, which this backend does not have"),
        ({"batch_input": [{"kind": "BATCH_ELEMENT_COUNT"}]}, "batch_input, which this backend does not have"),
        (
            {"parameters": {"execution_context_allocation_strategy": {"string_value": "NEVER"}}},
            "expected STATIC or ON_PROFILE_CHANGE, found 'NEVER'",
        ),
        (
            {
                "parameters": {
                    "enable_multi_device": {"string_value": "1"},
                    "multi_device_gpus": {"string_value": "0,1"},
                }
            },
            "runs an instance on one GPU",
        ),
    ],
)
def test_what_would_change_answers_is_refused(decided, change, said):
    config = as_triton_passes_it(next(row for row in ROWS if row.name == "base")) | change
    with pytest.raises(ValueError, match=said):
        decided.checks.check_before_loading(config, "GPU", "base_0_0")


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        ({"is_shape": True}, "is_shape_tensor must be true"),
        ({"is_linear": False}, "is_non_linear_format_io must be true"),
        ({"data_type": "TYPE_INVALID"}, "the configuration says TYPE_UINT8, the engine has TYPE_INVALID"),
        ({"shape": (-1, 64, 32, 3)}, r"\[-1, 64, 32, 3\]"),
    ],
)
def test_an_engine_of_another_kind_is_refused(decided, tensor, said):
    facts = described(decided.facts, "base")
    images, logits = facts.tensors
    values = {name: getattr(images, name) for name in images.__dataclass_fields__}
    other = decided.facts.EngineFacts((decided.facts.EngineTensor(**{**values, **tensor}), logits), facts.profiles)
    config = as_triton_passes_it(next(row for row in ROWS if row.name == "base"))
    with pytest.raises(ValueError, match=said):
        decided.checks.check_tensors(config, other, list(other.profiles))


def test_two_groups_may_use_two_profiles(decided):
    config = {"name": "m", "instance_group": [{"profile": ["0"]}, {"name": "large", "profile": ["1", "1"]}]}
    facts = described(decided.facts, "p2")
    assert decided.checks.profile_numbers(config, "m_0_0", facts) == [0]
    assert decided.checks.profile_numbers(config, "large_3", facts) == [1]


def test_the_nearest_profile_answers(decided):
    facts = described(decided.facts, "p2")
    profiles = dict(enumerate(facts.profiles))
    nearest = [decided.facts.nearest_profile(profiles, {"images": (size, 32, 32, 3)}) for size in (1, 30, 32, 40, 256)]
    assert nearest == [0, 0, 0, 1, 1]


def test_settings_without_effect_are_named(decided):
    config = as_triton_passes_it(next(row for row in ROWS if row.name == "golden"))
    assert decided.checks.without_effect(config) == ["output_copy_stream"]
