from __future__ import annotations

import pytest

from console.processor import INTEGER_EXTENSIONS, instruction_set, model_name

ZEN4 = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu sse2 avx2 avx512f avx512bw avx512_vnni\n"
HASWELL = "flags\t\t: fpu sse2 avx avx2 fma\nflags\t\t: fpu\n"
ALDER_LAKE = "flags : avx2 avx_vnni\n"
GRAVITON = "Features\t: fp asimd evtstrm asimddp\n"


@pytest.mark.parametrize(
    ("cpuinfo", "found"),
    [
        (ZEN4, ["avx512_vnni", "avx512bw", "avx2"]),
        (HASWELL, ["avx2"]),
        (ALDER_LAKE, ["avx_vnni", "avx2"]),
        (GRAVITON, ["asimddp", "asimd"]),
        ("", []),
    ],
)
def test_the_extensions_that_8_bit_kernels_are_written_for_are_named_the_best_first(tmp_path, cpuinfo, found):
    path = tmp_path / "cpuinfo"
    path.write_text(cpuinfo)
    assert instruction_set(path) == found


def test_where_it_cannot_be_read_there_is_none(tmp_path):
    assert instruction_set(tmp_path / "missing") == []
    assert model_name(tmp_path / "missing") == "unknown"


@pytest.mark.parametrize(("cpuinfo", "found"), [(ZEN4, "AMD EPYC"), (GRAVITON, "unknown")])
def test_a_processor_is_called_what_it_calls_itself(tmp_path, cpuinfo, found):
    path = tmp_path / "cpuinfo"
    path.write_text(cpuinfo)
    assert model_name(path) == found


def test_this_machines_are_known_ones():
    assert set(instruction_set()) <= set(INTEGER_EXTENSIONS)
