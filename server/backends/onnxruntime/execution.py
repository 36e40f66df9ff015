"""Running a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnxruntime
from batching import Array, Inputs, join
from parameters import run_options


class Executor:
    """Runs a session on requests put together.

    Args:
        session: the model's.
        config: its configuration, as Triton passes it to a Python model.
    """

    def __init__(self, session: onnxruntime.InferenceSession, config: Mapping[str, Any]) -> None:
        self._session = session
        self._options = run_options(config)

    def run(self, names: Sequence[str], parts: Sequence[Inputs]) -> dict[str, Array]:
        """Run one batch.

        Args:
            names: the outputs wanted.
            parts: the inputs of each request; equal in everything but the batch dimension.

        Returns:
            output name -> array of the whole batch.
        """
        return dict(zip(names, self._session.run(names, join(parts), self._options), strict=True))
