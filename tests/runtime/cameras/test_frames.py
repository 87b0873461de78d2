"""Frames out of GStreamer's memory: row strides of odd widths, colorimetry, 16 bit, times."""

from __future__ import annotations

import time
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime.cameras.frames import Frame, FrameReader
from irvis_runtime.cameras.sources import FORMATS, Role
from irvis_runtime.gstreamer import Description, build_pipeline, packed, start_pipeline, stop_pipeline

pytestmark = pytest.mark.usefixtures("gstreamer")

SIZES = [(120, 160), (121, 161), (120, 161), (121, 160), (17, 19)]


def through(gstreamer: ModuleType, caps: str, planes: list[NDArray[Any]], tail: str = "") -> Frame:
    """What comes out of an appsink when these planes go into an appsrc of these caps."""
    pipeline = build_pipeline(
        Description(f"appsrc name=in format=time caps={caps} ! {tail} appsink name=out sync=false")
    )
    base_time_ns = time.monotonic_ns() - gstreamer.SECOND
    start_pipeline(pipeline, base_time_ns)
    try:
        buffer = gstreamer.Buffer.new_wrapped(packed(planes))
        buffer.pts = 40 * gstreamer.MSECOND
        pipeline.get_by_name("in").push_buffer(buffer)
        sample = pipeline.get_by_name("out").try_pull_sample(5 * gstreamer.SECOND)
        assert sample is not None
        frame = FrameReader(base_time_ns, latency_ns=5_000_000).read(sample)
        assert frame.time_ns == base_time_ns + 35_000_000
        return frame
    finally:
        stop_pipeline(pipeline)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_nv12_planes_come_out_as_they_went_in(gstreamer: ModuleType, height: int, width: int) -> None:
    rng = np.random.default_rng(width)
    luma_hw = rng.integers(0, 256, (height, width)).astype(np.uint8)
    chroma = rng.integers(0, 256, (-(-height // 2), 2 * (-(-width // 2)))).astype(np.uint8)
    caps = f"video/x-raw,format=NV12,width={width},height={height},framerate=30/1,colorimetry=bt709"
    frame = through(gstreamer, caps, [luma_hw, chroma])
    assert np.array_equal(frame.luma_hw, luma_hw)
    assert frame.chroma is not None
    assert np.array_equal(frame.chroma, chroma)
    assert (frame.colorimetry, frame.is_full_range) == ("bt709", False)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_sixteen_bit_counts_come_out_as_they_went_in(gstreamer: ModuleType, height: int, width: int) -> None:
    counts_hw = np.random.default_rng(width).integers(0, 65536, (height, width)).astype(np.uint16)
    # What some thermal cameras declare as YUYV are counts too; GStreamer pads its odd rows.
    for name in ("GRAY16_LE", "YUY2"):
        check_counts(gstreamer, name, counts_hw)


def check_counts(gstreamer: ModuleType, name: str, counts_hw: NDArray[np.uint16]) -> None:
    height, width = counts_hw.shape
    caps = f"video/x-raw,format={name},width={width},height={height},framerate=9/1"
    frame = through(gstreamer, caps, [counts_hw])
    assert frame.luma_hw.dtype == np.uint16
    assert np.array_equal(frame.luma_hw, counts_hw)
    assert frame.chroma is None


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_grey_and_its_padded_meta_come_out_as_they_went_in(
    gstreamer: ModuleType, height: int, width: int
) -> None:
    """videocrop and videobox hand on buffers whose strides only their meta tells."""
    grey_hw = np.random.default_rng(width).integers(0, 256, (height, width)).astype(np.uint8)
    caps = f"video/x-raw,format=GRAY8,width={width},height={height},framerate=30/1"
    frame = through(gstreamer, caps, [grey_hw], "videocrop left=3 top=2 right=1 !")
    assert np.array_equal(frame.luma_hw, grey_hw[2:, 3:-1])
    assert frame.is_full_range


@pytest.mark.parametrize(
    ("colorimetry", "is_full"), [("bt601", False), ("1:4:0:0", True), ("2:4:0:0", False), ("1:3:5:1", True)]
)
def test_the_range_comes_from_the_caps(gstreamer: ModuleType, colorimetry: str, is_full: bool) -> None:
    caps = f"video/x-raw,format=I420,width=16,height=16,framerate=30/1,colorimetry=(string){colorimetry}"
    grey = np.full((8, 8), 128, np.uint8)
    frame = through(gstreamer, caps, [np.zeros((16, 16), np.uint8), grey, grey])
    assert (frame.colorimetry, frame.is_full_range) == (colorimetry, is_full)


@pytest.mark.parametrize(
    ("role", "name", "expected"),
    [
        ("visible", "I420", "NV12"),
        ("visible", "YUY2", "NV12"),
        ("visible", "RGB", "NV12"),
        ("visible", "GRAY8", "GRAY8"),
        ("infrared", "GRAY8", "GRAY8"),
        ("infrared", "GRAY16_LE", "GRAY16_LE"),
        ("infrared", "GRAY16_BE", "GRAY16_LE"),
        ("infrared", "YUY2", "I420"),
        ("infrared", "RGB", "I420"),
    ],
)
def test_every_camera_keeps_its_own_kind_of_luma(
    gstreamer: ModuleType, role: Role, name: str, expected: str
) -> None:
    """A limited luma that became GRAY8 would count as full, and colour that became grey would be lost."""
    caps = f"video/x-raw,format={name},width=64,height=48,framerate=30/1"
    launch = (
        f"videotestsrc num-buffers=1 ! {caps} ! videoconvert ! {FORMATS[role]} ! appsink name=out sync=false"
    )
    pipeline = build_pipeline(Description(launch))
    start_pipeline(pipeline, time.monotonic_ns())
    sample = pipeline.get_by_name("out").try_pull_sample(5 * gstreamer.SECOND)
    stop_pipeline(pipeline)
    assert sample.get_caps().get_structure(0).get_string("format") == expected
    assert FrameReader(0).read(sample).is_full_range == expected.startswith("GRAY")
