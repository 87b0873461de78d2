from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from irvis_runtime.errors import ContractError
from irvis_runtime.image import read_picture

Picture = NDArray[Any]
Order = Literal["<", ">"]


def noise(height: int, width: int, channels: int = 3, dtype: type = np.uint8) -> Picture:
    rng = np.random.default_rng(height * 100 + width)
    picture = rng.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)
    return picture[..., 0] if channels == 1 else picture


def tiff(
    pixels: Picture,
    omit: tuple[int, ...] = (),
    order: Order = "<",
    is_big: bool = False,
    tags: Mapping[int, int] | None = None,
) -> bytes:
    """A TIFF of one uncompressed strip, the directory behind the header (TIFF 6.0, and BigTIFF)."""
    sample_format = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    samples = 1 if pixels.ndim == 2 else pixels.shape[2]
    fields = {
        256: pixels.shape[1],
        257: pixels.shape[0],
        258: pixels.dtype.itemsize * 8,
        259: 1,
        262: 1 if samples == 1 else 2,
        273: 0,
        277: samples,
        278: pixels.shape[0],
        279: pixels.nbytes,
        339: sample_format,
        **(tags or {}),
    }
    for tag in omit:
        del fields[tag]
    offset, count = ("Q", "Q") if is_big else ("I", "H")
    head = b"II" if order == "<" else b"MM"
    head += struct.pack(order + "HHH", 43, 8, 0) if is_big else struct.pack(order + "H", 42)
    entry = struct.Struct(f"{order}HH{offset}{offset}")
    at = len(head) + struct.calcsize("=" + offset)
    size = at + struct.calcsize("=" + count + offset) + entry.size * len(fields)
    fields[273] = size
    # A value shorter than its field stands at the field's beginning, so LONG is moved there in big endian.
    shift = 32 if is_big and order == ">" else 0
    entries = [entry.pack(tag, 4, 1, value << shift) for tag, value in sorted(fields.items())]
    directory = struct.pack(order + count, len(entries)) + b"".join(entries) + struct.pack(order + offset, 0)
    return (
        head
        + struct.pack(order + offset, at)
        + directory
        + pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    )


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], Picture]:
    def read_content(content: bytes) -> Picture:
        path = tmp_path / "picture.png"
        path.write_bytes(content)
        return read_picture(path)

    return read_content


def refuses(path: Path) -> str:
    with pytest.raises(ContractError) as caught:
        read_picture(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("is_big", [False, True])
def test_tiff_of_either_byte_order_and_size(
    read: Callable[[bytes], Picture], order: Order, is_big: bool
) -> None:
    picture = noise(40, 56, 1, np.uint16)
    np.testing.assert_array_equal(read(tiff(picture, order=order, is_big=is_big)), picture)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("is_big", [False, True])
def test_tiff_without_photometric_interpretation(
    read: Callable[[bytes], Picture], order: Order, is_big: bool
) -> None:
    # As TWMM's radiometric drone pictures are; OpenCV alone gives nothing.
    picture = noise(41, 57, 1, np.uint16)
    content = tiff(picture, omit=(262,), order=order, is_big=is_big)
    assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) is None
    np.testing.assert_array_equal(read(content), picture)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("is_big", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_is_not_applied(
    read: Callable[[bytes], Picture], orientation: int, channels: int, dtype: type, is_big: bool, order: Order
) -> None:
    picture = noise(20, 33, channels, dtype)
    content = tiff(picture, order=order, is_big=is_big, tags={274: orientation})
    np.testing.assert_array_equal(read(content), picture[..., ::-1] if channels == 3 else picture)


def test_an_orientation_is_not_applied_where_photometric_interpretation_is_missing(
    read: Callable[[bytes], Picture],
) -> None:
    picture = noise(20, 33, 1, np.uint16)
    np.testing.assert_array_equal(read(tiff(picture, omit=(262,), tags={274: 6})), picture)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("is_big", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_where_zero_is_white_numbers_are_inverted(
    read: Callable[[bytes], Picture], dtype: type, is_big: bool, order: Order
) -> None:
    picture = noise(20, 33, 1, dtype)
    content = tiff(np.iinfo(dtype).max - picture, order=order, is_big=is_big, tags={262: 0, 274: 3})
    np.testing.assert_array_equal(read(content), picture)


def test_colour_tiff_without_photometric_interpretation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "colour.tif"
    path.write_bytes(tiff(noise(20, 20), omit=(262,)))
    assert "convert it to PNG" in refuses(path)


PICTURES = st.builds(
    noise,
    st.integers(1, 24),
    st.integers(1, 24),
    st.sampled_from([1, 3]),
    st.sampled_from([np.uint8, np.uint16]),
)


@settings(max_examples=60, deadline=None)
@given(
    picture=PICTURES,
    order=st.sampled_from(["<", ">"]),
    is_big=st.booleans(),
    omit=st.sampled_from([(), (262,)]),
    share=st.floats(0, 1, exclude_max=True),
)
def test_cut_tiff_is_never_a_picture(
    tmp_path_factory: pytest.TempPathFactory,
    picture: Picture,
    order: Order,
    is_big: bool,
    omit: tuple[int, ...],
    share: float,
) -> None:
    content = tiff(picture, omit, order, is_big)
    path = tmp_path_factory.getbasetemp() / "cut.tif"
    path.write_bytes(content[: int(share * len(content))])
    refuses(path)
