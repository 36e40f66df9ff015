r"""Protobuf's text format as C++ reads it, for Python's reader, which takes other texts.

Triton reads with C++ (`io/tokenizer.cc`, `text_format.cc`). There `graphs: 0x1` and `graphs: 01` are true and a
comment or a string may hold any bytes; Python's reader refuses them, and takes no-break spaces, `1_0` and unknown
escapes, which C++ refuses. So a text is cut into C++'s tokens here and written anew for Python. The table of what
Triton 2.51.0 takes is `tests/support/foreign_configurations.py`.

One thing stays: a float (`minimum_slot_utilization` alone) that is written in base 8 or 16 is taken here.
"""

from __future__ import annotations

import re

_ESCAPE = rb"""\\(?:[abfnrtv\\?'"]|[0-7]|x[0-9a-fA-F]|u[0-9a-fA-F]{4}|U00[01][0-9a-fA-F]{5})"""

_TOKEN = re.compile(
    rb"""
    (?P<space>    [ \t\r\v\f]+ )
  | (?P<line>     \n )
  | (?P<comment>  \#[^\n\0]* )
  | (?P<word>     [A-Za-z_][A-Za-z0-9_]* )
  | (?P<based>    (?: 0x[0-9a-f]+ | 0[0-7]+ ) (?![\w.]) )
  | (?P<number>   (?!0\d) (?: \d+\.?\d* | \.\d+ ) (?: e[+-]?\d+ )? f? (?![\w.]) )
  | (?P<string>   (?P<quote>["']) (?: (?!(?P=quote)) [^\\\n\0] | (?-i:%b) )* (?P=quote) )
  | (?P<minus>    - )
  | (?P<symbol>   [!$%%&()*+,./:-@\[-`{-~] )
    """
    % _ESCAPE,
    re.VERBOSE | re.IGNORECASE,
)
_VALUE = re.compile(
    rb"\\(?:(?P<octal>[0-7]{1,3})|x(?P<byte>[0-9a-fA-F]{1,2})|(?P<pair>u[dD][89abAB]..\\u[dD][c-fC-F]..)"
    rb"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|(?P<plain>.))"
)
_PLAIN = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_LAST = 0x10FFFF


class TokenError(ValueError):
    """A text holds what is none of C++'s tokens; says where, counted from 1, and what."""


def for_python(content: bytes) -> str:
    """A text that C++ reads as a message, as Python's reader reads the same message; its lines stay.

    Bytes of a string that are not UTF-8 are left out, as Triton leaves them out where it shows its configuration.

    Args:
        content: the file's.

    Raises:
        TokenError: C++ would refuse it for a token; what is wrong beyond tokens is left to Python's reader.
    """
    parts: list[str] = []
    at, minus = 0, False
    while at < len(content):
        found = _TOKEN.match(content, at)
        if not found:
            raise _refused(content, at)
        at = found.end()
        kind, token = str(found.lastgroup if found.lastgroup != "quote" else "string"), found[0]
        if minus and kind not in ("space", "line", "comment"):
            parts.append("-")  # C++ lets space stand between a sign and its number
            minus = False
        if kind == "minus":
            minus = True
        elif kind == "based":
            parts.append(str(int(token, 16 if token[1:2] in b"xX" else 8)).ljust(len(token)))
        elif kind == "string":
            parts.append(_string(token))
        elif kind != "comment":
            parts.append(" " * len(token) if kind == "space" else token.decode("ascii"))
    return "".join([*parts, "-" if minus else ""])


def _string(token: bytes) -> str:
    """A string's token for Python: as it is where both read it alike."""
    if b"\\" not in token and (text := token.decode(errors="ignore")).encode() == token:
        return text
    value = _VALUE.sub(_unescaped, token[1:-1]).decode(errors="ignore")
    return '"' + "".join(f"\\{ord(one):03o}" if one < " " or one in '"\\' else one for one in value) + '"'


def _unescaped(found: re.Match[bytes]) -> bytes:
    if found["octal"]:
        return bytes([int(found["octal"], 8) & 0xFF])
    if found["byte"]:
        return bytes([int(found["byte"], 16)])
    if found["pair"]:
        high, low = int(found["pair"][1:5], 16), int(found["pair"][7:11], 16)
        return chr(0x10000 + ((high & 0x3FF) << 10) + (low & 0x3FF)).encode()
    if code := found["short"] or found["long"]:
        point = int(code, 16)
        return chr(point).encode(errors="surrogatepass") if point <= _LAST else found[0]
    return _PLAIN.get(found["plain"], found["plain"])


def _refused(content: bytes, at: int) -> TokenError:
    start = content.rfind(b"\n", 0, at) + 1
    line = content.count(b"\n", 0, at) + 1
    rest = re.split(rb"[\s,;{}\[\]<>]", content[at:], maxsplit=1)[0][:20] or content[at : at + 1]
    said = rest.decode(errors="backslashreplace")
    if content[at : at + 1] in (b'"', b"'"):
        return TokenError(f"{line}:{at - start + 1}: a string that does not end on its line, or holds a bad escape")
    if content[at] >= 0x80:
        return TokenError(f"{line}:{at - start + 1}: {said!r} stands outside of strings and comments, and is not ASCII")
    return TokenError(f"{line}:{at - start + 1}: {said!r} is no part of a configuration")
