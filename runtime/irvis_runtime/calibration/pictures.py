"""Pairs of pictures to calibrate with: from files, folders, or the rig's own cameras."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.cameras.camera import Camera
from irvis_runtime.cameras.frames import Frame
from irvis_runtime.cameras.inbox import Inbox
from irvis_runtime.cameras.luma_range import to_full_range
from irvis_runtime.cameras.pairing import Pairing
from irvis_runtime.cameras.sources import Role, make_source
from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.gstreamer import find_platform
from irvis_runtime.image import read_infrared, read_visible
from irvis_runtime.pairs import check_size, find_pairs
from irvis_runtime.rig import CameraConfig, Rig
from irvis_runtime.thermal.agc import stretch_to_8_bit

from .search import PicturePair, Size


def read_pictures(arguments: Sequence[tuple[Path, Path]]) -> list[PicturePair]:
    """Returns the (infrared, visible) luma, uint8, each of its own size, of files and of folders.

    ContractError where not all pairs have the sizes of the first: one rig has one homography for one size.
    """
    files: list[tuple[Path, Path]] = []
    for infrared, visible in arguments:
        if infrared.is_dir() and visible.is_dir():
            files += [(pair.infrared, pair.visible) for pair in find_pairs(infrared, visible)]
        else:
            files.append((infrared, visible))
    pairs: list[PicturePair] = []
    for infrared, visible in files:
        pair = read_infrared(infrared), read_visible(visible).luma_hw
        for path, picture_hw in zip((infrared, visible), pair, strict=True):
            check_size(path, picture_hw.shape)
        if pairs and sizes_of(pair) != sizes_of(pairs[0]):
            raise ContractError(
                f"{infrared}, {visible}: expected the sizes of the first pair, {_told(pairs[0])}, got "
                f"{_told(pair)}; calibrate with pictures of one rig in one mode"
            )
        pairs.append(pair)
    return pairs


def grab_pictures(rig: Rig, count: int, every_s: float) -> list[PicturePair]:
    """Returns `count` pairs from the rig's cameras, `every_s` seconds apart; the outputs are not opened.

    BackendError where a camera does not come, or stops before there are as many.
    """
    platform, inbox = find_platform(), Inbox()
    limits = rig.limits
    roles: tuple[tuple[Role, CameraConfig, Callable[[Frame], None]], ...] = (
        ("visible", rig.visible, inbox.put_visible),
        ("infrared", rig.infrared, inbox.put_infrared),
    )
    cameras = [
        Camera(
            role,
            make_source(config.source, role, platform),
            deliver,
            _report,
            latency_ms=config.latency_ms,
            restart_s=limits.restart_ms / 1e3,
            start_s=limits.start_ms / 1e3,
        )
        for role, config, deliver in roles
    ]
    pairing: Pairing[Frame] = Pairing(limits.max_skew_ms, hold_ms=0.0)
    epoch_ns = time.monotonic_ns()
    try:
        for camera in cameras:
            camera.start(epoch_ns)
        return _collect(inbox, pairing, cameras, count, every_s, 2 * limits.start_ms / 1e3)
    finally:
        for camera in cameras:
            camera.stop()


def sizes_of(pair: PicturePair) -> tuple[Size, Size]:
    """Height and width of the infrared and of the visible picture."""
    (infrared_hw, visible_hw) = pair
    return infrared_hw.shape[:2], visible_hw.shape[:2]


def _collect(
    inbox: Inbox,
    pairing: Pairing[Frame],
    cameras: Sequence[Camera],
    count: int,
    every_s: float,
    patience_s: float,
) -> list[PicturePair]:
    pairs: list[PicturePair] = []
    last_s = time.monotonic()
    while len(pairs) < count:
        visible, infrared = inbox.take(0.05)
        for frame in infrared:
            pairing.add(frame)
        now_s = time.monotonic()
        choice = None if visible is None else pairing.choose(visible.time_ns)
        if visible is not None and choice is not None and (not pairs or now_s - last_s >= every_s):
            pairs.append((_eight_bit(choice.frame), _eight_bit(visible)))
            last_s = now_s
        is_over = all(camera.state == "over" for camera in cameras) and not infrared and visible is None
        if is_over or now_s - last_s > patience_s + every_s:
            told = "; ".join(f"{camera.source.uri}: {camera.reason or camera.state}" for camera in cameras)
            raise BackendError(
                f"{len(pairs)} of {count} pairs came from the cameras ({told}); "
                "check them, or give --pictures"
            )
    return pairs


def _report(line: str) -> None:
    sys.stderr.write(f"irvis calibrate: {line}\n")


def _eight_bit(frame: Frame) -> NDArray[np.uint8]:
    if frame.luma_hw.dtype == np.uint16:
        return stretch_to_8_bit(frame.luma_hw)
    luma_hw: NDArray[Any] = frame.luma_hw if frame.is_full_range else to_full_range(frame.luma_hw)
    return luma_hw


def _told(pair: PicturePair) -> str:
    return " and ".join(f"{picture_hw.shape[1]}x{picture_hw.shape[0]}" for picture_hw in pair)
