"""Pairs of pictures from folders and from the rig's own cameras."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from irvis_runtime.calibration.pictures import grab_pictures, read_pictures, sizes_of
from irvis_runtime.config import from_mapping
from irvis_runtime.errors import BackendError
from irvis_runtime.rig import Rig


def write(path: Path, size_hw: tuple[int, int], kind: type = np.uint8) -> Path:
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), np.arange(size_hw[0] * size_hw[1]).reshape(size_hw).astype(kind))
    return path


def test_folders_and_files_together(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / "ir" / f"{name}.png", (40, 50), np.uint16)
        write(tmp_path / "vis" / f"{name}.png", (60, 80))
    one = tmp_path / "ir" / "a.png", tmp_path / "vis" / "b.png"
    pairs = read_pictures([(tmp_path / "ir", tmp_path / "vis"), one])
    assert len(pairs) == 3
    assert {sizes_of(pair) for pair in pairs} == {((40, 50), (60, 80))}
    assert all(picture_hw.dtype == np.uint8 for pair in pairs for picture_hw in pair)


def rig(infrared: str, **limits: float) -> Rig:
    return from_mapping(
        Rig,
        {
            "visible": {"source": "test://?width=160&height=120&fps=30&pattern=ball"},
            "infrared": {"source": infrared},
            "output": [{"sink": "null://"}],
            "limits": limits,
        },
        "test",
    )


@pytest.mark.usefixtures("gstreamer")
def test_the_rigs_cameras_give_pairs() -> None:
    pairs = grab_pictures(rig("test://?width=80&height=60&fps=30&pattern=ball", max_skew_ms=5000), 3, 0.1)
    assert [sizes_of(pair) for pair in pairs] == [((60, 80), (120, 160))] * 3
    # The ball moves, so that three looks are three pictures.
    assert not np.array_equal(pairs[0][1], pairs[2][1])


@pytest.mark.usefixtures("gstreamer")
def test_a_camera_that_does_not_come_is_named() -> None:
    with pytest.raises(BackendError, match=r"0 of 2 pairs came .*no-such-video"):
        grab_pictures(rig("v4l2:///dev/no-such-video", start_ms=300), 2, 0.1)
