"""Snapshots: the newest picture in its true colours, whole whenever it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irvis_runtime.image import read_picture
from irvis_runtime.sinks.picture import Picture

# Y, U, V of pure red in each colorimetry (ITU-R BT.601 and BT.709, limited; BT.601 full as in JPEG).
RED = {"bt601": (81, 90, 240), "bt709": (63, 102, 240), "1:4:0:0": (76, 85, 255)}


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("colorimetry", list(RED))
def test_a_snapshot_has_the_pictures_colours_and_size(
    suffix: str, colorimetry: str, outputs: Any, until: Any, tmp_path: Path
) -> None:
    path = tmp_path / f"now.{suffix}"
    luma, blue, red = RED[colorimetry]
    chroma = np.tile(np.array([blue, red], np.uint8), (31, 41))
    branch = outputs.open(f"file://{path}")
    branch.push(Picture(np.full((61, 81), luma, np.uint8), chroma, 0, colorimetry))
    until(path.exists)
    bgr = read_picture(path)
    assert bgr.shape == (61, 81, 3)
    assert np.abs(bgr.astype(int) - (0, 0, 255)).max() <= 6


def test_it_is_replaced_when_due_and_never_half_written(outputs: Any, until: Any, tmp_path: Path) -> None:
    path = tmp_path / "now.png"
    outputs.open(f"file://{path}", every_s=0.2)
    feed = outputs.feed()
    until(path.exists)
    seen: set[bytes] = set()

    def has_seen_four() -> bool:
        seen.add(read_picture(path).tobytes())
        return len(seen) >= 4

    until(has_seen_four)
    outputs.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["now.png"]
    # Six pictures of 1/30 s are 0.2 s: no more were converted and written than that.
    assert len(seen) <= feed.pushed // 6 + 1
    assert outputs.lines == []


def test_a_folder_that_vanishes_is_told_and_the_output_goes_on_when_it_is_back(
    outputs: Any, until: Any, tmp_path: Path
) -> None:
    # A link, in whose place another file comes in one step: in an empty folder the next snapshot may be made.
    folder = tmp_path / "shots"
    (tmp_path / "disk").mkdir()
    folder.symlink_to("disk")
    outputs.open(f"file://{folder}/now.png", every_s=0.1)
    outputs.feed()
    until((folder / "now.png").exists)
    (tmp_path / "in the way").touch()
    (tmp_path / "in the way").replace(folder)
    until(lambda: any("trying again" in line for line in outputs.lines))
    folder.unlink()
    until(lambda: any("works again" in line for line in outputs.lines))
    assert (folder / "now.png").exists()
