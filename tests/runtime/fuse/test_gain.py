"""`irvis fuse --agc` and `--range`: on 16-bit pictures, and where they cannot serve."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from irvis_runtime.fuser import Fuser
from irvis_runtime.image import read_infrared, read_picture, read_visible
from irvis_runtime.thermal.agc import Agc, FixedAgc, PlateauAgc

from .fuse_pictures import files_below, make, make_variable_video, scene

Run = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def infrared(tmp_path: Path) -> Path:
    return make(tmp_path / "ir" / "a.png", scene(channels=1, seed=1))


@pytest.fixture
def visible(tmp_path: Path) -> Path:
    return make(tmp_path / "vis" / "a.png", scene(seed=2))


@pytest.mark.parametrize(
    ("options", "agc"),
    [
        ([], None),
        (["--agc", "linear"], None),
        (["--agc", "plateau"], PlateauAgc(0.1, 255.0)),
        (["--range", "7000", "9000"], FixedAgc(7000.0, 9000.0)),
    ],
)
def test_16_bit_infrared_by_the_gain_control_that_is_asked_for(
    tmp_path: Path, run: Run, visible: Path, options: list[str], agc: Agc | None
) -> None:
    infrared = make(tmp_path / "ir.tif", scene(channels=1).astype(np.uint16) ** 2 // 30 + 7000)
    assert run(infrared, visible, "-o", tmp_path / "fused.png", "--gray", *options) == (0, [])
    with Fuser() as fuser:
        fused_hw = fuser.fuse(read_infrared(infrared, agc), read_visible(visible).luma_hw)
    np.testing.assert_array_equal(read_picture(tmp_path / "fused.png"), fused_hw)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--range", "9", "7"], "--range: expected BLACK below WHITE, by 0.001 counts at least, got 9 7"),
        (["--range", "0", "1e-320"], "--range: expected BLACK below WHITE, by 0.001"),
        (
            ["--range", "7", "9", "--agc", "plateau"],
            "--range: expected no --agc beside it, got --agc plateau",
        ),
        (["--range", "nan", "5"], "--range: expected two finite counts, got nan 5"),
        (["--range", "0", "inf"], "--range: expected two finite counts, got 0 inf"),
        (["--range", "0", "1e300"], "--range: expected counts within 1e+06 of 0, got 0 1e+300"),
    ],
)
def test_a_wrong_range_is_one_line(
    tmp_path: Path, run: Run, infrared: Path, visible: Path, options: list[str], why: str
) -> None:
    code, lines = run(infrared, visible, "-o", tmp_path / "fused.png", *options)
    assert code == 2
    assert len(lines) == 1
    assert why in lines[0]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("black_white", [(8000, 8000.001), (-1e6, 1e6), (0, 65535)])
def test_the_widest_and_the_narrowest_range_are_lines(black_white: tuple[float, float]) -> None:
    curve = FixedAgc(*black_white).curve(np.zeros((2, 2), np.uint16))
    assert np.isfinite(curve).all()
    assert (np.diff(curve) >= 0).all()


@pytest.mark.parametrize("options", [["--agc", "linear"], ["--agc", "plateau"], ["--range", "7000", "9000"]])
def test_8_bit_infrared_is_told_to_be_taken_as_it_is(
    tmp_path: Path, run: Run, infrared: Path, visible: Path, options: list[str]
) -> None:
    make(infrared.with_name("b.png"), scene(channels=1).astype(np.uint16) * 20 + 7000)
    make(visible.with_name("b.png"), scene())
    assert run(infrared.parent, visible.parent, "-o", tmp_path / "out", *options) == (
        0,
        [
            "irvis fuse: 1 of 2 infrared inputs have 8 bits and were taken as they are; "
            "--agc and --range are for 16 bits"
        ],
    )


@pytest.mark.parametrize("options", [["--agc", "linear"], ["--range", "7000", "9000"]])
def test_videos_take_no_gain(tmp_path: Path, run: Run, options: list[str]) -> None:
    video = make_variable_video(tmp_path / "v.mkv", range(3))
    code, (line,) = run(video, video, "-o", tmp_path / "fused.mkv", *options)
    assert code == 2
    assert "--agc and --range: expected 16-bit pictures, got videos, which are decoded to 8 bits" in line
    assert files_below(tmp_path) == ["v.mkv"]


def test_a_16_bit_video_is_told_to_be_decoded_to_8(tmp_path: Path, run: Run) -> None:
    deep = tmp_path / "deep.mkv"
    options = [cv2.VIDEOWRITER_PROP_DEPTH, cv2.CV_16U, cv2.VIDEOWRITER_PROP_IS_COLOR, 0]
    code = cv2.VideoWriter.fourcc(*"FFV1")
    writer = cv2.VideoWriter(str(deep), cv2.CAP_FFMPEG, code, 25.0, (64, 48), options)
    assert writer.isOpened()
    for number in range(3):
        writer.write(scene(channels=1, seed=number)[..., 0].astype(np.uint16) * 257)
    writer.release()
    visible = make_variable_video(tmp_path / "vis.mkv", range(3))
    assert run(deep, visible, "-o", tmp_path / "fused.mkv") == (
        0,
        [
            "irvis fuse: the infrared video has 16 bits, its frames were decoded to 8; "
            "folders of 16-bit pictures keep their counts"
        ],
    )
