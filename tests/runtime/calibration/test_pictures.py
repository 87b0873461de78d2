"""Pairs of pictures from folders and from the rig's own cameras."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime.calibration.pictures import grab_pictures, read_pictures, sizes_of
from irvis_runtime.config import from_mapping
from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.rig import Rig
from irvis_runtime.thermal.agc import stretch_to_8_bit
from irvis_runtime.thermal.config import ThermalConfig
from irvis_runtime.thermal.sensors import SensorName
from irvis_runtime.thermal.telemetry import FFC_IN_PROGRESS, FFC_SHIFT, STATUS_WORD


def write(path: Path, size_hw: tuple[int, int], kind: type = np.uint8) -> Path:
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), np.arange(size_hw[0] * size_hw[1]).reshape(size_hw).astype(kind))
    return path


def test_folders_and_files_together(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / "ir" / f"{name}.png", (40, 50), np.uint16)
        write(tmp_path / "vis" / f"{name}.png", (60, 80))
    one = tmp_path / "ir" / "a.png", tmp_path / "vis" / "b.png"
    pairs = read_pictures([(tmp_path / "ir", tmp_path / "vis"), one], ThermalConfig())
    assert len(pairs) == 3
    assert {sizes_of(pair) for pair in pairs} == {((40, 50), (60, 80))}
    assert all(picture_hw.dtype == np.uint8 for pair in pairs for picture_hw in pair)


def whole_frame(sensor: str, picture_hw: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """What the camera sends: two telemetry rows below, or another picture above, as bright as can be."""
    more_hw = np.full((2 if sensor == "lepton-3" else 192, picture_hw.shape[1]), 65535, np.uint16)
    if sensor == "lepton-3":
        more_hw[0, STATUS_WORD] = 0
    return np.vstack([picture_hw, more_hw] if sensor == "lepton-3" else [more_hw, picture_hw])


def counts(size_hw: tuple[int, int], seed: int = 0) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(30000, 31000, size_hw).astype(np.uint16)


@pytest.mark.parametrize(("sensor", "size_hw"), [("lepton-3", (120, 160)), ("tiny1", (192, 256))])
def test_files_of_whole_frames_are_cropped_and_cropped_ones_are_not(
    tmp_path: Path, sensor: SensorName, size_hw: tuple[int, int]
) -> None:
    visible = write(tmp_path / "vis.png", (60, 80))
    whole, cropped, other = (tmp_path / f"{name}.png" for name in ("whole", "cropped", "other"))
    cv2.imwrite(str(whole), whole_frame(sensor, counts(size_hw)))
    cv2.imwrite(str(cropped), counts(size_hw))
    cv2.imwrite(str(other), counts((240, 320)))
    thermal = ThermalConfig(sensor=sensor)
    for pair in read_pictures([(whole, visible), (cropped, visible)], thermal):
        assert np.array_equal(pair[0], stretch_to_8_bit(counts(size_hw)))
    assert sizes_of(read_pictures([(other, visible)], thermal)[0])[0] == (240, 320)


def test_a_whole_frame_whose_counts_are_lost_is_refused(tmp_path: Path) -> None:
    visible, infrared = write(tmp_path / "vis.png", (60, 80)), write(tmp_path / "ir.png", (384, 256))
    with pytest.raises(ContractError, match=r"ir\.png: \[thermal\] sensor tiny1: expected counts of 16 bit"):
        read_pictures([(infrared, visible)], ThermalConfig(sensor="tiny1"))


def rig(infrared: str, sensor: SensorName = "generic", freeze: str = "auto", **limits: float) -> Rig:
    return from_mapping(
        Rig,
        {
            "visible": {"source": "test://?width=160&height=120&fps=30&pattern=ball"},
            "infrared": {"source": infrared},
            "output": [{"sink": "null://"}],
            "limits": limits,
            "thermal": {"sensor": sensor, "freeze": freeze},
        },
        "test",
    )


@pytest.mark.usefixtures("gstreamer")
def test_the_rigs_cameras_give_pairs() -> None:
    pairs = grab_pictures(rig("test://?width=80&height=60&fps=30&pattern=ball", max_skew_ms=5000), 3, 0.1)
    assert [sizes_of(pair) for pair in pairs] == [((60, 80), (120, 160))] * 3
    # The ball moves, so that three looks are three pictures.
    assert not np.array_equal(pairs[0][1], pairs[2][1])


def write_raw(path: Path, frames: list[NDArray[np.uint16]], fps: float) -> str:
    """The frames as a camera's source."""
    path.write_bytes(b"".join(frame_hw.astype("<u2").tobytes() for frame_hw in frames))
    height, width = frames[0].shape
    return f"raw://{path}?width={width}&height={height}&format=gray16&fps={fps:g}"


@pytest.mark.usefixtures("gstreamer")
@pytest.mark.parametrize(("sensor", "size_hw"), [("lepton-3", (120, 160)), ("tiny1", (192, 256))])
def test_the_frames_of_a_named_sensor_are_cropped(
    tmp_path: Path, sensor: SensorName, size_hw: tuple[int, int]
) -> None:
    frames = [whole_frame(sensor, counts(size_hw, seed)) for seed in range(20)]
    uri = write_raw(tmp_path / "frames", frames, 10)
    pictures = [stretch_to_8_bit(counts(size_hw, seed)) for seed in range(20)]
    for infrared_hw, _ in grab_pictures(rig(uri, sensor, max_skew_ms=5000), 2, 0.2):
        assert any(np.array_equal(infrared_hw, picture_hw) for picture_hw in pictures)


@pytest.mark.usefixtures("gstreamer")
def test_no_frame_behind_the_shutter_is_taken(tmp_path: Path) -> None:
    """Telemetry says of every other frame that a flat-field correction is in progress, of the first too."""
    frames = [whole_frame("lepton-3", counts((120, 160), seed)) for seed in range(20)]
    for frame_hw in frames[::2]:
        frame_hw[120, STATUS_WORD] = FFC_IN_PROGRESS << FFC_SHIFT
    uri = write_raw(tmp_path / "frames", frames, 10)
    open_pictures = [stretch_to_8_bit(counts((120, 160), seed)) for seed in range(1, 20, 2)]
    for infrared_hw, _ in grab_pictures(rig(uri, "lepton-3", max_skew_ms=5000), 3, 0.1):
        assert any(np.array_equal(infrared_hw, picture_hw) for picture_hw in open_pictures)


@pytest.mark.usefixtures("gstreamer")
def test_a_rig_that_heeds_no_shutter_takes_every_frame(tmp_path: Path) -> None:
    frame_hw = whole_frame("lepton-3", counts((120, 160)))
    frame_hw[120, STATUS_WORD] = FFC_IN_PROGRESS << FFC_SHIFT
    uri = write_raw(tmp_path / "frames", [frame_hw] * 20, 10)
    pairs = grab_pictures(rig(uri, "lepton-3", "off", max_skew_ms=5000), 2, 0.1)
    assert [sizes_of(pair)[0] for pair in pairs] == [(120, 160)] * 2


@pytest.mark.usefixtures("gstreamer")
def test_a_camera_that_repeats_its_picture_is_told(tmp_path: Path) -> None:
    uri = write_raw(tmp_path / "frames", [counts((120, 160))] * 20, 10)
    with pytest.raises(BackendError, match=r"of 2 pairs .*the infrared one repeats its picture"):
        grab_pictures(rig(uri, "lepton-3", max_skew_ms=180, start_ms=2000), 2, 1.0)


@pytest.mark.usefixtures("gstreamer")
def test_frames_of_another_sensor_are_refused(tmp_path: Path) -> None:
    uri = write_raw(tmp_path / "frames", [counts((60, 80), seed) for seed in range(20)], 10)
    with pytest.raises(ContractError, match="sensor lepton-3: expected frames of 160 x 120"):
        grab_pictures(rig(uri, "lepton-3"), 1, 0.0)


@pytest.mark.usefixtures("gstreamer")
def test_a_camera_that_does_not_come_is_named() -> None:
    with pytest.raises(BackendError, match=r"0 of 2 pairs came .*no-such-video"):
        grab_pictures(rig("v4l2:///dev/no-such-video", start_ms=300), 2, 0.1)
