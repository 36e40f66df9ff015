from __future__ import annotations

import pytest
from tritonclient.grpc import model_config_pb2 as pb

from console.triton_configuration import ConfigurationError, parse, read
from tests.support.foreign_configurations import HEAD, rows

ROWS = rows()


@pytest.mark.parametrize("row", ROWS)
def test_a_configuration_is_read_as_triton_reads_it(row, tmp_path):
    written, expected = ROWS[row]
    path = tmp_path / "config.pbtxt"
    path.write_bytes(HEAD + written)
    if expected is None:
        with pytest.raises(ConfigurationError, match="is not a Triton model configuration") as error:
            read(path)
        assert "correct it" in error.value.hint
        return
    whole = parse(HEAD)
    whole.MergeFrom(expected)
    assert read(path) == whole


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"backend: 'a'\n  max_batchsize: 4", "2:3.*max_batchsize"),
        (b"# gr\xf6\xdfe\nmax_batch_size: 0x1 optimisation { }", "2:21.*optimisation"),
        (b"a\xa0b", "1:2: .*is not ASCII"),
        (b"# a\n name: 'tiny", "2:8: a string that does not end on its line"),
        (b"max_batch_size: 1_0", "1:17: '1_0'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(content, said):
    with pytest.raises(ConfigurationError, match=said):
        parse(content)


def test_where_there_is_no_file_the_configuration_is_empty(tmp_path):
    assert read(tmp_path / "config.pbtxt") == pb.ModelConfig()


def test_a_file_that_cannot_be_read_is_one_error(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        read(tmp_path)
