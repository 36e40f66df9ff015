from __future__ import annotations

import pytest

from builder.errors import BuilderError, TensorRTError
from builder.export import onnx_export
from builder.tensorrt.triton_releases import RELEASES, compose_release, loads, parse_version, preflight, release_named
from tests.docker.test_compose import DOCKER


def test_the_release_that_serve_starts_is_known():
    assert release_named(compose_release()).tag in (DOCKER / ".env").read_text()


@pytest.mark.parametrize("release", RELEASES.values(), ids=RELEASES)
def test_every_release_reads_the_models_that_are_exported(release):
    assert release.max_ir >= onnx_export.IR_VERSION
    assert release.max_opset >= onnx_export.OPSET


def test_an_unknown_release_says_which_are_known_and_how_to_go_on():
    with pytest.raises(BuilderError, match=r"26\.09 .*known: 26\.04") as error:
        release_named("26.09")
    assert "TRITON_RELEASE=26.09 make build-repo-docker" in error.value.hint


@pytest.mark.parametrize("tag", ["26.8", "latest", "26.08-py3", ""])
def test_a_release_is_written_as_year_and_month(tag):
    with pytest.raises(BuilderError, match="is written YY"):
        release_named(tag)


def test_a_compose_environment_without_release_says_what_to_do(tmp_path):
    (tmp_path / ".env").write_text("# TRITON_RELEASE=26.08\n")
    with pytest.raises(BuilderError, match="names no TRITON_RELEASE"):
        compose_release(tmp_path / ".env")


@pytest.mark.parametrize(
    ("text", "version"),
    [("11.2.1.2", (11, 2, 1)), ("10.14.1.48.post1", (10, 14, 1)), ("10.16.1", (10, 16, 1)), ("10.7.0", (10, 7, 0))],
)
def test_versions_as_the_wheels_write_them(text, version):
    assert parse_version(text) == version


@pytest.mark.parametrize("text", ["", "11.2", "eleven", "11.x.1"])
def test_what_is_no_version_is_refused(text):
    with pytest.raises(BuilderError, match="three numbers"):
        parse_version(text)


@pytest.mark.parametrize(
    ("built", "serving", "compatible", "loaded"),
    [
        ((11, 2, 1), (11, 2, 1), False, True),
        ((11, 2, 0), (11, 2, 1), False, False),
        ((11, 0, 0), (11, 2, 1), True, True),
        ((11, 3, 0), (11, 2, 1), True, False),
        ((10, 16, 1), (11, 0, 0), True, False),
    ],
)
def test_a_plan_is_bound_to_its_version_unless_it_is_compatible(built, serving, compatible, loaded):
    assert loads(built, serving, version_compatible=compatible) is loaded


def test_preflight_names_both_versions_and_the_pip_line():
    said = r"Triton 26\.08 holds TensorRT 11\.2\.1 .* found TensorRT 11\.4\.0"
    with pytest.raises(TensorRTError, match=said) as error:
        preflight((11, 4, 0), RELEASES["26.08"].tensorrt, "Triton 26.08")
    assert "pip install 'tensorrt-cu13==11.2.1.*'" in error.value.hint


def test_preflight_lets_the_right_version_pass():
    preflight((11, 2, 1), RELEASES["26.08"].tensorrt, "Triton 26.08")
