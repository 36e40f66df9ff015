from __future__ import annotations

import pytest

from builder.publishing.repository import Repository
from tests.builder.publishing.tiny import model


@pytest.fixture
def repository(tmp_path):
    """Three versions with configurations of their own; 2 and 3 are on the disk."""
    found = Repository(tmp_path / "models")
    for number in (1, 2, 3):
        found.publish(model(b"%d" % number, number))
    return found
