"""Files of a published model that an editor elsewhere has saved in another encoding: said, and never a traceback."""

from __future__ import annotations

import pytest

from builder.publishing.repository import Repository
from tests.builder.publishing.tiny import CONFIG, builder, model

LATIN = "Mähdrescher\n".encode("latin-1")
ESCAPED = (CONFIG % 3).encode() + rb'output { name: "y" label_filename: "\344.txt" }' + b"\n"
FILES = {
    "labels": ("labels.txt", LATIN),
    "labels in UTF-16": ("labels.txt", "Mähdrescher\n".encode("utf-16")),
    "a comment": ("config.pbtxt", (CONFIG % 3).encode() + b"# " + LATIN),
    "a comment of a place's": ("configs/cpu.pbtxt", (CONFIG % 30).encode() + b"# " + LATIN),
    "a name": ("config.pbtxt", (CONFIG % 3).encode() + b'default_model_filename: "' + LATIN.strip() + b'"\n'),
    "a name by its bytes": ("config.pbtxt", ESCAPED),
    "labels of a version": ("3/published/labels.txt", LATIN),
    "the configuration of a version": ("3/published/config.pbtxt", ESCAPED),
    "the provenance": ("3/provenance.json", b'{"model": "' + LATIN.strip() + b'"}'),
    "the record": ("versions.json", b'{"highest": "' + LATIN.strip() + b'"}'),
}
COMMANDS = {
    "inspect": ("inspect", "REPOSITORY/tiny"),
    "inspect all": ("inspect", "REPOSITORY"),
    "versions": ("versions", "--repository=REPOSITORY"),
    "verify": ("verify", "--no-answers", "--repository=REPOSITORY"),
    "rollback": ("rollback", "tiny", "--repository=REPOSITORY"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_not_utf_8_is_no_traceback(tmp_path, command):
    for number, (what, (name, content)) in enumerate(FILES.items()):
        repository = Repository(tmp_path / str(number))
        for version in (1, 2, 3):
            repository.publish(model(b"%d" % version, version))
        (repository.path / "tiny" / name).write_bytes(content)
        done = builder(*(part.replace("REPOSITORY", str(repository.path)) for part in COMMANDS[command]))
        assert "Traceback" not in done.stderr, (name, done.stderr)
        assert done.returncode in (0, 1, 2)
        if command == "verify" and what.startswith("a comment"):  # Triton reads past it
            assert done.returncode == 0, what
        elif command == "verify":
            assert done.returncode == 2, what
            assert name.rpartition("/")[2] in done.stderr
