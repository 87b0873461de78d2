"""Scenes as files: a data set, two videos, and nothing where there is nothing to write."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from irvis_runtime.errors import ContractError
from irvis_runtime.pairs import find_dataset_pairs, read_pair
from irvis_runtime.scenes import Scene, write_pairs, write_videos
from irvis_runtime.video import VideoReader


def test_write_pairs_makes_a_data_set(tmp_path: Path) -> None:
    write_pairs(tmp_path / "set", 3, (48, 65), seed=11)
    pairs = find_dataset_pairs(tmp_path)
    assert len(pairs) == 3
    pictures = [read_pair(pair) for pair in pairs]
    assert all(infrared.shape == visible.shape == (48, 65) for infrared, visible in pictures)
    assert np.abs(pictures[0][1].astype(float) - pictures[1][1]).mean() > 5
    colour = cv2.imread(str(pairs[0].visible), cv2.IMREAD_UNCHANGED)
    assert colour is not None
    assert colour.shape == (48, 65, 3)


def test_write_pairs_says_the_same_twice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_pairs(tmp_path / name, 1, (32, 32), seed=3)
    files = [
        sorted(path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*.png"))
        for name in "ab"
    ]
    assert files[0] == files[1]
    assert all(
        (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in files[0]
    )


def test_write_videos_makes_two_of_equal_length(tmp_path: Path) -> None:
    paths = [tmp_path / "ir.mp4", tmp_path / "vis.mp4"]
    write_videos(paths[0], paths[1], Scene(1, 48, 64, "day"), 0.4, 10)
    for path in paths:
        reader = VideoReader(path)
        frames = 0
        while (picture := reader.read()) is not None:
            assert picture.shape[:2] == (48, 64)
            frames += 1
        reader.close()
        assert frames == 4


def test_nothing_to_write_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="expected 1 or more, got 0"):
        write_pairs(tmp_path, 0, (32, 32), seed=1)
    with pytest.raises(ContractError, match="one frame or more"):
        write_videos(tmp_path / "a.mp4", tmp_path / "b.mp4", Scene(1, 32, 32), 0.0, 25)
    assert list(tmp_path.iterdir()) == []
