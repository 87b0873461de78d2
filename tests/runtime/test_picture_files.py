from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from irvis_runtime.errors import ContractError
from irvis_runtime.image import read_picture

Picture = NDArray[Any]


def noise(height: int, width: int, channels: int = 3, dtype: type = np.uint8) -> Picture:
    rng = np.random.default_rng(height * 100 + width)
    picture = rng.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)
    return picture[..., 0] if channels == 1 else picture


def encoded(suffix: str, picture: Picture) -> bytes:
    is_encoded, content = cv2.imencode(suffix, picture)
    assert is_encoded
    return content.tobytes()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    rows: bytes, width: int, height: int, depth: int, colour: int, extra: bytes = b"", end: bytes = b""
) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body = header + extra + png_chunk(b"IDAT", zlib.compress(rows)) + end
    return b"\x89PNG\r\n\x1a\n" + body + png_chunk(b"IEND", b"")


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


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_is_dropped(read: Callable[[bytes], Picture], dtype: type) -> None:
    picture = noise(20, 30, 4, dtype)
    for suffix in (".png", ".tif"):
        np.testing.assert_array_equal(read(encoded(suffix, picture)), picture[..., :3])


def test_palette_is_expanded(read: Callable[[bytes], Picture]) -> None:
    palette = png_chunk(b"PLTE", bytes([10, 20, 30, 200, 100, 50])) + png_chunk(b"tRNS", b"\x00")
    picture = read(png(b"\x00\xaa\xaa" * 16, 16, 16, 1, 3, palette))
    assert picture.shape == (16, 16, 3)
    assert picture[0, 0].tolist() == [50, 100, 200]
    assert picture[0, 1].tolist() == [30, 20, 10]


def test_one_bit_and_two_bit_grey_fill_the_range(read: Callable[[bytes], Picture]) -> None:
    assert read(png(b"\x00\xaa\xaa" * 16, 16, 16, 1, 0))[0, :2].tolist() == [255, 0]
    assert read(png(b"\x00\x1b\x1b\x1b\x1b" * 16, 16, 16, 2, 0))[0, :4].tolist() == [0, 85, 170, 255]


def test_odd_ancillary_chunks_add_no_line(
    read: Callable[[bytes], Picture], capfd: pytest.CaptureFixture[str]
) -> None:
    profile = png_chunk(b"iCCP", b"x\0\0" + zlib.compress(b"no profile"))
    picture = read(png((b"\x00" + b"\x80" * 16) * 16, 16, 16, 8, 0, profile))
    assert (picture == 128).all()
    assert capfd.readouterr() == ("", "")


def make_folder(path: Path) -> None:
    path.mkdir()


def write(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "no such file"),
    "folder": (make_folder, "folder"),
    "pipe": (os.mkfifo, "pipe"),
    "empty": (write(b""), "empty"),
    "text": (write(b"not a picture"), "b'not a pi'"),
    "gif": (write(b"GIF89a" + bytes(40)), "PNG, JPEG or TIFF"),
    "png signature alone": (write(b"\x89PNG\r\n\x1a\n"), "cut or damaged"),
    "jpeg signature alone": (write(b"\xff\xd8\xff"), "cut or damaged"),
    "jpeg without a scan": (write(b"\xff\xd8\xff\xd9"), "cut or damaged"),
    "tiff signature alone": (write(b"II*\0"), "cut or damaged"),
    "tiff of no entries": (write(b"II*\0\x08\0\0\0\0\0\0\0\0\0"), "cannot decode"),
    "tiff of 65535 entries": (write(b"II*\0\x08\0\0\0" + b"\xff" * 40), "cut or damaged"),
    "png of half its rows": (write(png((b"\0" + bytes(16)) * 8, 16, 16, 8, 0)), "cannot decode"),
    "png of no width": (write(png(b"", 0, 16, 8, 0)), "cannot decode"),
    "png of 1.6 gigapixels": (write(png(b"", 40000, 40000, 8, 0)), "cannot decode"),
    "float": (write(encoded(".tif", noise(20, 20, 1).astype(np.float32))), "float32"),
    "not a number": (write(encoded(".tif", np.full((20, 20), np.nan, np.float32))), "float32"),
    "infinite": (write(encoded(".tif", np.full((20, 20), np.inf))), "float64"),
    "signed": (write(encoded(".tif", noise(20, 20, 1).astype(np.int16))), "int16"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_no_picture_says_why_in_one_line(tmp_path: Path, kind: str) -> None:
    make, why = UNREADABLE[kind]
    path = tmp_path / "picture.png"
    make(path)
    assert why in refuses(path)


def test_a_file_as_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    refuses(tmp_path / "file" / "picture.png")


PICTURES = st.builds(
    noise,
    st.integers(1, 24),
    st.integers(1, 24),
    st.sampled_from([1, 3]),
    st.sampled_from([np.uint8, np.uint16]),
)


@settings(max_examples=60, deadline=None)
@given(picture=PICTURES, share=st.floats(0, 1, exclude_max=True))
def test_cut_png_is_never_a_picture(
    tmp_path_factory: pytest.TempPathFactory, picture: Picture, share: float
) -> None:
    content = encoded(".png", picture)
    path = tmp_path_factory.getbasetemp() / "cut.png"
    path.write_bytes(content[: int(share * len(content))])
    refuses(path)


@settings(max_examples=60, deadline=None)
@given(picture=PICTURES, where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_damaged_png_is_never_a_picture(
    tmp_path_factory: pytest.TempPathFactory, picture: Picture, where: float, flip: int
) -> None:
    content = bytearray(encoded(".png", picture))
    content[int(where * len(content))] ^= flip
    path = tmp_path_factory.getbasetemp() / "damaged.png"
    path.write_bytes(content)
    refuses(path)


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 40),
    channels=st.sampled_from([1, 3]),
    options=st.sampled_from([[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 1]]),
    share=st.floats(0, 1, exclude_max=True),
)
def test_cut_jpeg_is_never_a_picture(
    tmp_path_factory: pytest.TempPathFactory, size: int, channels: int, options: list[int], share: float
) -> None:
    content = cv2.imencode(".jpg", noise(size, size + 3, channels), options)[1].tobytes()
    path = tmp_path_factory.getbasetemp() / "cut.jpg"
    path.write_bytes(content)
    assert read_picture(path).shape[:2] == (size, size + 3)
    path.write_bytes(content[: int(share * len(content))])
    refuses(path)


@settings(max_examples=40, deadline=None)
@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0+"])
)
def test_noise_is_never_a_picture(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, start: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.png"
    path.write_bytes(start + noise)
    refuses(path)


def test_jpeg_thumbnail_does_not_hide_a_cut(tmp_path: Path) -> None:
    # The thumbnail inside has an end of its own; the picture itself has none.
    thumbnail = encoded(".jpg", noise(16, 16))
    content = encoded(".jpg", noise(40, 56))
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    path = tmp_path / "cut.jpg"
    path.write_bytes(content[:2] + segment + content[2 : len(content) // 2])
    assert "cut or damaged" in refuses(path)
