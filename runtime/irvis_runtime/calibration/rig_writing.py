"""The homography, and the sizes that it is of, put into a rig file that stays as its owner wrote it."""

from __future__ import annotations

import codecs
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irvis_runtime import atomic
from irvis_runtime.config import parse_toml, read_toml
from irvis_runtime.errors import ContractError

TABLE = "registration"
Size = tuple[int, int]

_HEADER = re.compile(r"[ \t]*\[[ \t]*(?:registration|\"registration\"|'registration')[ \t]*\][ \t]*(?:#.*)?")
_ANY_HEADER = re.compile(r"[ \t]*\[")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}|' r"'''(?:[^']|'(?!''))*'{3,5}|" r'"(?:[^"\\\n]|\\.)*"|' r"'[^'\n]*'",
    re.DOTALL,
)


def write_registration(
    path: Path, homography_33: NDArray[np.float64], infrared_hw: Size, visible_hw: Size
) -> Path:
    """Puts a homography and its pictures' sizes into the rig file; returns where it is as it was (.bak).

    Every other byte stays, comments and order too. Written beside and renamed. ContractError where the file
    writes [registration] in a way that cannot be edited safely; the file is then untouched.
    """
    before = read_toml(path)
    content = path.read_bytes()
    mark = codecs.BOM_UTF8 if content.startswith(codecs.BOM_UTF8) else b""
    text = content.decode("utf-8-sig")
    values: dict[str, list[Any]] = {
        "homography": rounded(homography_33),
        "infrared_size": list(infrared_hw[::-1]),
        "visible_size": list(visible_hw[::-1]),
    }
    edited = with_values(text, values)
    expected = dict(before)
    expected[TABLE] = {**before.get(TABLE, {}), **values}
    if edited is None or _parsed(edited, path) != expected:
        raise ContractError(
            f"{path}: cannot put the homography in without touching the rest; write the table as "
            f"[{TABLE}] on a line of its own, or add {_lines_of(values)!r} yourself"
        )
    former = path.with_name(f"{path.name}.bak")
    # A rig may hold passwords: who may read it may read its former content, and nobody else.
    with atomic.replacing(former, like=path) as temporary:
        shutil.copyfile(path, temporary)
    atomic.write_bytes(path, mark + edited.encode())
    return former


def with_values(text: str, values: Mapping[str, list[Any]]) -> str | None:
    """Returns the TOML text with these arrays in [registration], or None where they have no safe place.

    One that is there is replaced where it stands, the others are put below the header.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    for key, value in reversed(list(values.items())):
        edited = _with_value(text, key, repr(value), newline)
        if edited is None:
            return None
        text = edited
    return text


def _with_value(text: str, key: str, value: str, newline: str) -> str | None:
    lines = list(_lines_outside_values(text))
    start = next((end for begin, end in lines if _HEADER.fullmatch(text[begin:end].rstrip("\r\n"))), None)
    if start is None:
        body = text if not text or text.endswith("\n") else text + newline
        gap = newline if body.strip() else ""
        return f"{body}{gap}[{TABLE}]{newline}{key} = {value}{newline}"
    pattern = re.compile(rf"[ \t]*(?:{key}|\"{key}\"|'{key}')[ \t]*=[ \t]*")
    for begin, _ in lines:
        if begin < start:
            continue
        if _ANY_HEADER.match(text, begin):
            break
        found = pattern.match(text, begin)
        if found is not None:
            end = _end_of_array(text, found.end())
            return None if end is None else text[: found.end()] + value + text[end:]
    head = text[:start] if text[:start].endswith("\n") else text[:start] + newline
    return f"{head}{key} = {value}{newline}{text[start:]}"


def rounded(homography_33: NDArray[np.float64]) -> list[list[float]]:
    """The numbers as they are written: ten digits are 1e-6 px at the far end of a 4K picture."""
    return [[float(f"{number:.10g}") for number in row] for row in homography_33.tolist()]


def _lines_of(values: Mapping[str, list[Any]]) -> str:
    return "; ".join(f"{key} = {value!r}" for key, value in values.items())


def _lines_outside_values(text: str) -> Iterator[tuple[int, int]]:
    """Begin and end of each line that begins outside of values: only there a key or header can be."""
    at = begin = depth = 0
    is_value = False
    while at < len(text):
        string = _STRING.match(text, at)
        letter = text[at]
        if string is not None:
            at = string.end()
            continue
        at += 1
        if letter == "#":
            at = _end_of_line(text, at)
        elif letter == "=" and depth == 0:
            is_value = True
        elif is_value and letter in "[{":
            depth += 1
        elif is_value and letter in "]}":
            depth -= 1
        elif letter == "\n" and depth == 0:
            yield begin, at
            begin, is_value = at, False
    if begin < len(text):
        yield begin, len(text)


def _end_of_array(text: str, at: int) -> int | None:
    """Where the array that begins at `at` ends; None where there is no array."""
    depth = 0
    while at < len(text):
        string = _STRING.match(text, at)
        if string is not None:
            at = string.end()
        elif text[at] == "#":
            at = _end_of_line(text, at)
        else:
            depth += (text[at] == "[") - (text[at] == "]")
            at += 1
            if depth == 0:
                return at if text[at - 1] == "]" else None
    return None


def _end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _parsed(text: str, path: Path) -> Mapping[str, Any] | None:
    try:
        return parse_toml(text, path)
    except ContractError:
        return None
