r"""Configurations as people write them, and what Triton's own reader makes of them.

Each was given to tritonserver 2.51.0; `tests/server/selection/test_foreign_configurations.py` does it again.
"""

from __future__ import annotations

from tritonclient.grpc import model_config_pb2 as pb

HEAD = b"""backend: "python" instance_group { kind: KIND_CPU }
input { name: "images" data_type: TYPE_UINT8 dims: [32, 32, 3] }
output { name: "logits" data_type: TYPE_FP32 dims: [10] }
"""

BOOLEANS = {
    b"true": True, b"True": True, b"t": True, b"1": True, b"0x1": True, b"0X1": True, b"01": True, b"001": True,
    b"0x01": True, b"00000000000000000000001": True,
    b"false": False, b"False": False, b"f": False, b"0": False, b"0x0": False, b"00": False,
    b"TRUE": None, b"tRue": None, b"T": None, b"F": None, b"yes": None, b"2": None, b"0x2": None, b'"true"': None,
    b"1.0": None, b"+1": None, b"-1": None, b"-0": None, b"1u": None, b"t+": None, b"0x": None, b"[t]": None,
    b"\xef\xbc\x91": None,
}  # fmt: skip
"""How a yes or no is written -> what it is; None where the file is refused."""

STRINGS = {
    "'a\"b'": 'a"b', '"a" # x\n\'b\'\n"c"': "abc", '"a\tb"': "a\tb", '"Jürgen 王"': "Jürgen 王",
    r'"\303\274 \xc3\xbc \u00fc \U0001F600 \ud83d\ude00"': "ü ü ü 😀 😀",
    r'"\?\a\b\v\f\n\r\t\\\'\""': "?\a\b\v\f\n\r\t\\'\"",
    r'"\1014 \x4142"': "A4 A42", r'"a\000b"': "a\0b", r'"\374\xfc\777a"': "a", '"J\udcfcrgen"': "Jrgen",
    r'"\U00110000"': r"\U00110000",
    r'"\q"': None, r'"\x"': None, r'"\X41"': None, r'"\u12"': None, '"a\nb"': None, '"a\\\nb"': None, '"a\0b"': None,
    '"a': None,
}  # fmt: skip
"""How a string is written, bytes that are not UTF-8 as Python escapes them -> its value; such bytes are left out."""

DIMS = {
    b"[1, 2]": [1, 2], b"[- 1, -0x1, -01, 0x10, 010]": [-1, -1, -1, 16, 8], b"-# a\n1": [-1], b"[]": [],
    b"[1,]": None, b"--1": None, b"1_0": None, b"08": None, b"1.": None, b"1dims:1": None,
    b"99999999999999999999": None,
}  # fmt: skip
"""How whole numbers are written -> what they are."""

_CUDA = b"optimization { cuda { graphs: t } }"
TAKEN = {
    "a comment in Latin-1": b"# gr\xf6\xdfe\n" + _CUDA,
    "control characters in a comment": b"# \x01\x1b\n" + _CUDA,
    "a comment without a line's end": _CUDA + b"# gr\xf6\xdfe",
    "comments between": b"optimization # a\n { cuda # b\n { graphs # c\n : # d\n t } }",
    "lines end in CR LF": b"optimization {\r\n cuda { graphs: t } # a\r\n}\r\n",
    "lines end in CR": b"optimization {\r cuda { graphs: t }\r}\r",
    "odd spaces": b"optimization\v\f{\tcuda { graphs: t } }",
    "no spaces": b"optimization{cuda{graphs:t}}",
    "colons": b"optimization: { cuda: { graphs: t } }",
    "angles": b"optimization < cuda < graphs: t > >",
    "separators": b"; optimization { cuda { graphs: t; }; },",
    "a default twice": b"optimization { cuda { graphs: f graphs: t } }",
}
REFUSED = {
    "a no-break space": b"optimization\xc2\xa0{ cuda { graphs: t } }",
    "a separator of files": b"optimization\x1c{ }",
    "another field": b"optimisation { }",
    "another case": b"Optimization { }",
    "comments of C": b"// x\noptimization { }",
    "a field twice": b"optimization { } optimization { }",
    "a value twice": b"optimization { cuda { graphs: t graphs: t } }",
    "two separators": b"optimization { };;",
    "mixed brackets": b"optimization { cuda < graphs: t } }",
    "cut off": b"optimization {",
    "one bracket more": b"optimization { } }",
    "no colon": b"optimization { cuda { graphs t } }",
    "Latin-1 outside": b"gr\xf6\xdfe: 1",
    "a zero byte": _CUDA + b"# \0",
    "UTF-16": b"\xff\xfeo\0",
}


def rows() -> dict[str, tuple[bytes, pb.ModelConfig | None]]:
    """Name of a row -> what follows HEAD, and the message that it is; None where Triton refuses it."""
    cuda = pb.ModelOptimizationPolicy.Cuda
    found: dict[str, tuple[bytes, pb.ModelConfig | None]] = {}
    for written, value in BOOLEANS.items():
        text = b"optimization { cuda { graphs: %b output_copy_stream: %b } }" % (written, written)
        policy = pb.ModelOptimizationPolicy(cuda=cuda(graphs=bool(value), output_copy_stream=bool(value)))
        found[f"graphs: {written!r}"] = text, None if value is None else pb.ModelConfig(optimization=policy)
    for written, value in STRINGS.items():
        text = b'parameters { key: "a" value { string_value: %b } }' % written.encode(errors="surrogateescape")
        parameters = {"a": pb.ModelParameter(string_value=value or "")}
        found[f"string {written!r}"] = text, None if value is None else pb.ModelConfig(parameters=parameters)
    for written, value in DIMS.items():
        text = b'parameters { } input { name: "b" data_type: 013 dims: 7 dims: %b }' % written
        tensor = pb.ModelInput(name="b", data_type=pb.TYPE_FP32, dims=[7, *(value or [])])
        config = pb.ModelConfig(input=[tensor], parameters={"": pb.ModelParameter()})
        found[f"dims: {written!r}"] = text, None if value is None else config
    policy = pb.ModelOptimizationPolicy(cuda=cuda(graphs=True))
    found |= {name: (text, pb.ModelConfig(optimization=policy)) for name, text in TAKEN.items()}
    return found | {name: (text, None) for name, text in REFUSED.items()}
