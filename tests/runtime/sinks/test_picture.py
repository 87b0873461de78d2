"""The picture as GStreamer's NV12."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from irvis_runtime.buffers import bytes_of
from irvis_runtime.sinks.picture import Picture, caps_text, even_size, grey_chroma, nv12_buffer

sides = st.integers(1, 40)


@given(sides, sides, st.integers(0, 1000))
def test_the_bytes_hold_both_planes_in_rows_of_four(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    luma_hw = rng.integers(0, 256, (height, width)).astype(np.uint8)
    chroma = rng.integers(0, 256, grey_chroma((height, width)).shape).astype(np.uint8)
    picture = Picture(luma_hw, chroma, 0, "bt601")
    even_height, even_width = even_size(picture)
    stride = -(-even_width // 4) * 4
    planes = bytes_of(nv12_buffer(picture)).reshape(even_height + even_height // 2, stride)
    assert np.array_equal(planes[:height, :width], luma_hw)
    assert np.array_equal(planes[even_height:, : chroma.shape[1]], chroma)
    if width % 2:
        assert np.array_equal(planes[:height, width], luma_hw[:, -1])
    if height % 2:
        assert np.array_equal(planes[height, :width], luma_hw[-1])


def test_the_caps_keep_the_colorimetry() -> None:
    picture = Picture(np.zeros((121, 161), np.uint8), grey_chroma((121, 161)), 0, "1:3:5:1")
    assert caps_text(picture) == (
        "video/x-raw,format=NV12,width=162,height=122,framerate=30/1,colorimetry=(string)1:3:5:1"
    )
