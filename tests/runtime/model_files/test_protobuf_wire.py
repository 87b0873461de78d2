"""The wire format, read through ONNX files that are written byte by byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irvis_runtime.errors import ContractError
from irvis_runtime.model_files.onnx_file import read_onnx


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onnx")


def refusal(path: Path) -> str:
    with pytest.raises(ContractError) as caught:
        read_onnx(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


# A tensor type's shape with one size that is told as a number and as a name.
SIZE_OF_BOTH_KINDS = field(2, field(1, b"\x08\x01" + field(2, b"H")))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "without graph"),
        (field(7, b""), "without IR version"),
        (b"\x08" + b"\x80" * 10 + b"\x01", "numbers of at most 10 bytes"),
        (b"\x08" + b"\xff" * 9 + b"\x7f", "numbers of at most 64 bits"),
        (b"\x08\x80", "ends within a number"),
        (b"\x3a" + varint(2**64 - 1), "field 7 of 18446744073709551615 bytes where 0 are left"),
        (b"\x3b", "wire type 3 in field 7"),
        (b"\x3e\x00", "wire type 6 in field 7"),
        (b"\x00\x00", "field number 0"),
        (b"\x0d\x00\x00", "field 1 of 4 bytes where 2 are left"),
        (b"\x08\x08" + field(7, b"") * 2, "expected field 7 once, got it 2 times"),
        (b"\x08\x08\x38\x01", "another wire type in field 7"),
        (b"\x0d\x00\x00\x00\x00" + field(7, b""), "another wire type in field 1"),
        (b"\x08\x08" + field(7, field(1, field(4, b"\xff"))), "expected UTF-8 in field 4"),
        (
            b"\x08\x08" + field(7, field(11, field(2, field(1, SIZE_OF_BOTH_KINDS)))),
            "a number or a name, got both",
        ),
        (b"\x08\x08" + field(7, b"") + field(8, field(1, b"ai.onnx")), "an operator set with its version"),
    ],
)
def test_wrong_wire_format_is_refused(folder: Path, content: bytes, named: str) -> None:
    path = folder / "wire.onnx"
    path.write_bytes(content)
    assert named in refusal(path)


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=300))
def test_random_bytes_are_refused(folder: Path, content: bytes) -> None:
    path = folder / "random.onnx"
    path.write_bytes(content)
    assert refusal(path)


def test_missing_file_folder_and_huge_file_are_refused(folder: Path) -> None:
    assert "no such file" in refusal(folder / "none.onnx")
    assert "got a folder" in refusal(folder)
    huge = folder / "huge.onnx"
    with huge.open("wb") as file:
        file.truncate((512 << 20) + (1 << 20))
    assert "of at most 512 MiB, got 513 MiB" in refusal(huge)


def test_unknown_fields_of_every_wire_type_are_skipped(folder: Path) -> None:
    unknown = field(99, b"later") + varint(98 << 3) + b"\x05" + varint(97 << 3 | 1) + bytes(8)
    path = folder / "later.onnx"
    path.write_bytes(b"\x08\x08" + unknown + field(7, unknown + varint(96 << 3 | 5) + bytes(4)))
    assert read_onnx(path).ir_version == 8


@pytest.mark.parametrize("packed", [True, False])
def test_packed_and_unpacked_dims_are_skipped_alike(folder: Path, packed: bool) -> None:
    dims = field(1, varint(3) + varint(5)) if packed else b"\x08\x03\x08\x05"
    tensor = dims + b"\x10\x01" + field(8, b"w") + b"\x70\x01"
    path = folder / "dims.onnx"
    path.write_bytes(b"\x08\x08" + field(7, field(5, tensor)))
    assert read_onnx(path).external_data == ("w",)


@pytest.mark.parametrize("number", [22, 23])
def test_external_data_in_a_sparse_attribute_is_found(folder: Path, number: int) -> None:
    sparse = field(2, field(8, b"at") + b"\x70\x01")
    path = folder / "sparse.onnx"
    path.write_bytes(b"\x08\x08" + field(7, field(1, field(4, b"Abs") + field(5, field(number, sparse)))))
    assert read_onnx(path).external_data == ("at",)
