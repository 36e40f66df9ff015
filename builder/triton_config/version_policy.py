"""Which of a model's versions its configuration has Triton serve, and having it serve others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from console.triton_configuration import parse

_FIXED = (
    b"# Bound to versions that are not the newest; `python -m builder rollback MODEL --to N` binds it to another.\n"
)


def served(config: pb.ModelConfig, versions: Iterable[int]) -> list[int]:
    """The versions that Triton serves, ascending: those of `versions`, which are on the disk, that the policy names.

    The last one answers requests that name no version.
    """
    found, policy = sorted(versions), config.version_policy
    if policy.HasField("specific"):
        return [version for version in found if version in policy.specific.versions]
    return found if policy.HasField("all") else found[-_latest(policy) :]


def count_of(config: pb.ModelConfig) -> int:
    """How many versions a configuration serves side by side, as it was built: the number of its policy `latest`."""
    return _latest(config.version_policy)


def _latest(policy: pb.ModelVersionPolicy) -> int:
    return max(int(policy.latest.num_versions), 1)  # without a policy Triton serves the newest version


def bound(content: bytes, versions: Sequence[int]) -> bytes:
    """A configuration's file with the policy to serve exactly `versions`; comments at its head stay.

    Raises:
        ConfigurationError: it is not a configuration.
    """
    config = parse(content)
    bind(config, versions)
    comments = []
    for line in content.splitlines(keepends=True):
        if not line.startswith(b"#"):
            break
        comments.append(line)
    head = b"".join(line for line in comments if line != _FIXED)
    return head + _FIXED + text_format.MessageToString(config).encode()


def bind(config: pb.ModelConfig, versions: Sequence[int]) -> None:
    """Give a configuration the policy to serve exactly `versions`."""
    specific = pb.ModelVersionPolicy.Specific(versions=versions)
    config.version_policy.CopyFrom(pb.ModelVersionPolicy(specific=specific))
