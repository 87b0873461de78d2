"""The header of safetensors files, against the library and against files that are wrong in one way each."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save_file

from irvis_runtime.errors import ContractError
from irvis_runtime.model_files.safetensors_file import check_safetensors


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("contract")


def refusal(folder: Path, content: bytes) -> str:
    path = folder / "student.safetensors"
    path.write_bytes(content)
    with pytest.raises(ContractError) as caught:
        check_safetensors(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def safetensors(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize("metadata", [None, {"format": "irvis-student-1"}])
def test_a_file_of_the_library_passes_and_its_cuts_do_not(
    folder: Path, metadata: dict[str, str] | None
) -> None:
    path = folder / "library.safetensors"
    tensors: dict[str, NDArray[Any]] = {
        "conv.weight": np.ones((2, 1, 3, 3), np.float32),
        "bias": np.zeros((4,), np.float16),
        "steps": np.array(3, np.int64),
        "none": np.zeros((0, 4), np.float32),
    }
    save_file(tensors, path, metadata)
    check_safetensors(path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        assert refusal(folder, whole[:length])


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=100))
def test_random_weights_are_refused(folder: Path, content: bytes) -> None:
    assert refusal(folder, content)


PAIR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "expected a safetensors header within the file"),
        (struct.pack("<Q", 3) + b"{}", "got one of 3 bytes in a file of 10"),
        (struct.pack("<Q", 2**63) + b"{}", "expected a safetensors header within the file"),
        (safetensors(b"\xff\xff"), "UTF-8"),
        (safetensors([]), "expected an object"),
        (safetensors(b'{"a": 1, "a": 1}'), "'a' twice"),
        (safetensors({"a": PAIR}, bytes(7)), "expected 8 bytes of tensors, got 7"),
        (safetensors({"a": PAIR}, bytes(9)), "expected 8 bytes of tensors, got 9"),
        (
            safetensors({"a": PAIR, "b": PAIR}, bytes(8)),
            "b.data_offsets: expected a tensor that begins at byte 8",
        ),
        (safetensors({"a": {**PAIR, "dtype": "F31"}}, bytes(8)), "a.dtype: expected one of BOOL"),
        (
            safetensors({"a": {**PAIR, "shape": [3]}}, bytes(8)),
            "a.data_offsets: expected two offsets 12 bytes apart",
        ),
        (safetensors({"a": {**PAIR, "shape": [-2]}}, bytes(8)), "a.shape[0]"),
        (safetensors({"a": {**PAIR, "shape": [1] * 17}}, bytes(8)), "a.shape: expected at most 16 sizes"),
        (safetensors({"a": {**PAIR, "data_offsets": [0, 4, 8]}}, bytes(8)), "a.data_offsets"),
        (safetensors({"a": {"dtype": "F32", "shape": [2]}}, bytes(8)), "a.data_offsets: expected this key"),
        (safetensors({"__metadata__": {"format": 1}}), "__metadata__.format: expected a string"),
    ],
)
def test_wrong_safetensors_are_told(folder: Path, content: bytes, named: str) -> None:
    assert named in refusal(folder, content)
