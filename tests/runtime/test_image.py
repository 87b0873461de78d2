from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.image import (
    Visible,
    join_colour,
    luma_bt601,
    match_infrared,
    read_infrared,
    read_picture,
    read_visible,
    split_colour,
    write_picture,
)

Picture = NDArray[Any]


def scene(height: int = 40, width: int = 56, channels: int = 3, dtype: type = np.uint8) -> Picture:
    """A smooth picture with a little noise that uses the whole range."""
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[0:height, 0:width]
    planes = [np.sin(rows / (5 + 2 * c)) + np.cos(columns / (7 + c)) for c in range(channels)]
    waves = np.stack(planes, axis=-1) + rng.normal(0, 0.05, (height, width, channels))
    unit = (waves - waves.min()) / (waves.max() - waves.min())
    picture: Picture = np.rint(unit * np.iinfo(dtype).max).astype(dtype)
    return picture[..., 0] if channels == 1 else picture


def encoded(suffix: str, picture: Picture) -> bytes:
    is_encoded, content = cv2.imencode(suffix, picture)
    assert is_encoded
    return content.tobytes()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".TIF"])
def test_lossless_formats_come_back_as_written(
    tmp_path: Path, suffix: str, channels: int, dtype: type
) -> None:
    picture = scene(channels=channels, dtype=dtype)
    path = tmp_path / f"picture{suffix}"
    write_picture(path, picture)
    read_back = read_picture(path)
    assert read_back.dtype == dtype
    np.testing.assert_array_equal(read_back, picture)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_comes_back_close(tmp_path: Path, channels: int) -> None:
    picture = scene(channels=channels)
    path = tmp_path / "picture.JPG"
    write_picture(path, picture)
    difference = np.abs(read_picture(path).astype(int) - picture)
    assert read_picture(path).shape == picture.shape
    assert difference.mean() < 6


def test_jpeg_takes_no_16_bits(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="8 bits"):
        write_picture(tmp_path / "picture.jpg", scene(dtype=np.uint16))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["picture.bmp", "picture", "picture.png.txt"])
def test_unknown_suffix_is_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ContractError, match=r"name it with one of \.jpeg, \.jpg, \.png, \.tif, \.tiff"):
        write_picture(tmp_path / name, scene())
    assert list(tmp_path.iterdir()) == []


def test_without_opencv_the_error_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(BackendError, match="pip install opencv-python-headless"):
        read_picture(tmp_path / "picture.png")


def test_the_name_does_not_decide_how_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(".tif", scene()))
    np.testing.assert_array_equal(read_picture(path), scene())


def test_exif_orientation_is_not_applied(tmp_path: Path) -> None:
    orientation_6 = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHHI", 0x112, 3, 1, 6, 0, 0)
    segment = b"Exif\0\0" + orientation_6
    content = encoded(".jpg", scene(40, 56))
    path = tmp_path / "turned.jpg"
    path.write_bytes(content[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + content[2:])
    turned = cv2.imread(str(path))
    assert turned is not None
    assert turned.shape == (56, 40, 3), "the file does ask to be turned"
    assert read_picture(path).shape == (40, 56, 3)


BGR = arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3)))


@settings(max_examples=50, deadline=None)
@given(BGR)
def test_luma_is_bt601_in_opencv_fixed_point(bgr_hw3: Picture) -> None:
    # 0.299, 0.587 and 0.114 in 14 bits, as in OpenCV's color_yuv.simd.hpp.
    blue, green, red = (bgr_hw3[..., c].astype(np.int64) for c in range(3))
    expected = (4899 * red + 9617 * green + 1868 * blue + 8192) >> 14
    np.testing.assert_array_equal(luma_bt601(bgr_hw3), expected)
    np.testing.assert_array_equal(luma_bt601(bgr_hw3), cv2.cvtColor(bgr_hw3, cv2.COLOR_BGR2YCrCb)[..., 0])
    np.testing.assert_array_equal(split_colour(bgr_hw3).luma_hw, expected)


@settings(max_examples=50, deadline=None)
@given(BGR)
def test_unchanged_luma_gives_the_colours_back(bgr_hw3: Picture) -> None:
    visible = split_colour(bgr_hw3)
    joined = join_colour(visible.luma_hw, visible)
    # Chroma has 8 bits: half a step of Cb is 0.886 of blue, and each rounding adds a half.
    assert np.abs(joined.astype(int) - bgr_hw3).max() <= 2


@settings(max_examples=50, deadline=None)
@given(arrays(np.uint8, (9, 7)), arrays(np.uint8, (9, 7)))
def test_fused_luma_of_a_grey_picture_is_kept_exactly(fused_hw: Picture, grey_hw: Picture) -> None:
    assert join_colour(fused_hw, split_colour(grey_hw)) is fused_hw
    three_equal = split_colour(np.dstack([grey_hw] * 3))
    np.testing.assert_array_equal(three_equal.luma_hw, grey_hw)
    np.testing.assert_array_equal(join_colour(fused_hw, three_equal), np.dstack([fused_hw] * 3))


def test_chroma_passes_through() -> None:
    # Small chroma around middle luma, so that no channel clips.
    rng = np.random.default_rng(1)
    chroma_hw2 = rng.integers(108, 149, (30, 40, 2), np.uint8)
    fused_hw = rng.integers(90, 160, (30, 40), np.uint8)
    joined = split_colour(join_colour(fused_hw, Visible(fused_hw, chroma_hw2)))
    assert joined.chroma_hw2 is not None
    assert np.abs(joined.luma_hw.astype(int) - fused_hw).max() <= 1
    assert np.abs(joined.chroma_hw2.astype(int) - chroma_hw2).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_visible_is_divided_by_257(tmp_path: Path, channels: int) -> None:
    picture = scene(channels=channels)
    path = tmp_path / "visible.png"
    write_picture(path, picture.astype(np.uint16) * 257)
    from_16 = read_visible(path)
    expected = split_colour(picture)
    np.testing.assert_array_equal(from_16.luma_hw, expected.luma_hw)
    np.testing.assert_array_equal(np.asarray(from_16.chroma_hw2), np.asarray(expected.chroma_hw2))


def test_16_bit_visible_is_rounded(tmp_path: Path) -> None:
    counts = np.array([[0, 128, 129, 385, 386, 65535]], np.uint16)
    write_picture(tmp_path / "visible.png", counts)
    assert read_visible(tmp_path / "visible.png").luma_hw.tolist() == [[0, 0, 1, 1, 2, 255]]


def test_infrared_in_three_equal_channels_is_its_channel(tmp_path: Path) -> None:
    grey_hw = scene(channels=1)
    write_picture(tmp_path / "infrared.png", np.dstack([grey_hw] * 3))
    np.testing.assert_array_equal(read_infrared(tmp_path / "infrared.png"), grey_hw)


def test_8_bit_infrared_is_not_stretched(tmp_path: Path) -> None:
    grey_hw = scene(channels=1) // 4
    write_picture(tmp_path / "infrared.png", grey_hw)
    np.testing.assert_array_equal(read_infrared(tmp_path / "infrared.png"), grey_hw)


def test_16_bit_infrared_is_stretched(tmp_path: Path) -> None:
    # 0.01 K counts of a room, as a Lepton gives them, with one dead and one burning pixel.
    counts_hw = (29000 + np.arange(200 * 100) // 20).astype(np.uint16).reshape(200, 100)
    counts_hw[0, 0], counts_hw[1, 1] = 0, 65535
    write_picture(tmp_path / "infrared.tif", counts_hw)
    infrared_hw = read_infrared(tmp_path / "infrared.tif")
    assert infrared_hw.dtype == np.uint8
    assert (infrared_hw.min(), infrared_hw.max()) == (0, 255)
    # Between the percentiles the map is linear: 29005 -> 0, 29994 -> 255.
    assert infrared_hw[100, 0] == round((29500 - 29005) / (29994 - 29005) * 255)


def test_infrared_of_the_same_size_is_left_alone() -> None:
    infrared_hw = scene(channels=1)
    matched_hw, was_resized = match_infrared(infrared_hw, (40, 56))
    assert matched_hw is infrared_hw
    assert not was_resized


@pytest.mark.parametrize("size_hw", [(20, 28), (80, 112), (80, 20), (41, 57)])
def test_infrared_of_another_size_is_resized(size_hw: tuple[int, int]) -> None:
    infrared_hw = scene(channels=1)
    matched_hw, was_resized = match_infrared(infrared_hw, size_hw)
    assert was_resized
    assert matched_hw.shape == size_hw
    assert matched_hw.dtype == np.uint8
    assert abs(float(matched_hw.mean()) - float(infrared_hw.mean())) < 2


def test_halved_infrared_is_the_mean_of_its_pixels() -> None:
    infrared_hw = scene(channels=1)
    matched_hw, _ = match_infrared(infrared_hw, (20, 28))
    means = infrared_hw.reshape(20, 2, 28, 2).mean(axis=(1, 3))
    assert np.abs(matched_hw - means).max() <= 0.5
