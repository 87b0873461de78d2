"""Pairs of pictures to calibrate with: from files, folders, or the rig's own cameras."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from irvis_runtime.image import luma_bt601, read_picture, read_visible
from irvis_runtime.pairs import check_size, find_pairs
from irvis_runtime.rig import CameraConfig, Rig
from irvis_runtime.thermal.agc import stretch_to_8_bit
from irvis_runtime.thermal.config import ThermalConfig
from irvis_runtime.thermal.input import ThermalInput
from irvis_runtime.thermal.layout import split_frame

from .search import PicturePair, Size


def read_pictures(arguments: Sequence[tuple[Path, Path]], thermal: ThermalConfig) -> list[PicturePair]:
    """Returns the (infrared, visible) luma, uint8, each of its own size, of files and of folders.

    An infrared picture of the sensor's whole frame, with telemetry or another picture in it, is cropped as
    `irvis live` crops it. ContractError where not all pairs have the sizes of the first: one rig has one
    homography for one size.
    """
    files: list[tuple[Path, Path]] = []
    for infrared, visible in arguments:
        if infrared.is_dir() and visible.is_dir():
            files += [(pair.infrared, pair.visible) for pair in find_pairs(infrared, visible)]
        else:
            files.append((infrared, visible))
    pairs: list[PicturePair] = []
    for infrared, visible in files:
        pair = _read_infrared(infrared, thermal), read_visible(visible).luma_hw
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
    looks = _Looks(inbox, Pairing(limits.max_skew_ms, hold_ms=0.0), ThermalInput(rig.thermal))
    epoch_ns = time.monotonic_ns()
    try:
        for camera in cameras:
            camera.start(epoch_ns)
        return _collect(looks, cameras, count, every_s, 2 * limits.start_ms / 1e3)
    finally:
        for camera in cameras:
            camera.stop()


def sizes_of(pair: PicturePair) -> tuple[Size, Size]:
    """Height and width of the infrared and of the visible picture."""
    (infrared_hw, visible_hw) = pair
    return infrared_hw.shape[:2], visible_hw.shape[:2]


@dataclass(frozen=True)
class _Looks:
    """The cameras' frames as pairs, the infrared ones cropped as `irvis live` crops them."""

    inbox: Inbox
    pairing: Pairing[Frame]
    thermal: ThermalInput

    def next(self, timeout_s: float) -> tuple[tuple[Frame, Frame] | None, bool]:
        """Waits for frames; returns an (infrared, visible) pair, if there is one, and whether any came."""
        visible, infrared = self.inbox.take(timeout_s)
        for frame in infrared:
            picture = self._seen(frame)
            if picture is not None:
                self.pairing.add(picture)
        choice = None if visible is None else self.pairing.choose(visible.time_ns)
        pair = None if visible is None or choice is None else (choice.frame, visible)
        return pair, visible is not None or bool(infrared)

    def _seen(self, frame: Frame) -> Frame | None:
        """The picture of an infrared frame; None of one behind the closed shutter."""
        config = self.thermal.config
        parts = split_frame(frame.luma_hw, self.thermal.sensor, config.telemetry)
        # `take` would give the first one, as there is none yet to go on with.
        return None if parts.is_calibrating and config.freeze != "off" else self.thermal.take(frame)


def _collect(
    looks: _Looks, cameras: Sequence[Camera], count: int, every_s: float, patience_s: float
) -> list[PicturePair]:
    pairs: list[PicturePair] = []
    last_s = time.monotonic()
    while len(pairs) < count:
        pair, has_frames = looks.next(0.05)
        now_s = time.monotonic()
        if pair is not None and (not pairs or now_s - last_s >= every_s):
            pairs.append((_eight_bit(pair[0]), _eight_bit(pair[1])))
            last_s = now_s
        is_over = all(camera.state == "over" for camera in cameras) and not has_frames
        if is_over or now_s - last_s > patience_s + every_s:
            told = "; ".join(f"{camera.source.uri}: {camera.reason or camera.state}" for camera in cameras)
            if looks.thermal.is_frozen:
                told += "; the infrared one repeats its picture, as behind a closed shutter"
            raise BackendError(
                f"{len(pairs)} of {count} pairs came from the cameras ({told}); "
                "check them, or give --pictures"
            )
    return pairs


def _read_infrared(path: Path, thermal: ThermalConfig) -> NDArray[np.uint8]:
    picture = read_picture(path)
    grey_hw = picture if picture.ndim == 2 else luma_bt601(picture)
    sensor = thermal.described_sensor()
    if sensor.size_hw is not None:
        height, width = sensor.size_hw
        if grey_hw.shape == (sensor.rows_above + height + sensor.telemetry_rows, width):
            try:
                grey_hw = split_frame(grey_hw, sensor, thermal.telemetry).picture_hw
            except ContractError as error:
                raise ContractError(f"{path}: {error}") from error
    return stretch_to_8_bit(grey_hw) if grey_hw.dtype == np.uint16 else grey_hw


def _report(line: str) -> None:
    sys.stderr.write(f"irvis calibrate: {line}\n")


def _eight_bit(frame: Frame) -> NDArray[np.uint8]:
    if frame.luma_hw.dtype == np.uint16:
        return stretch_to_8_bit(frame.luma_hw)
    luma_hw: NDArray[Any] = frame.luma_hw if frame.is_full_range else to_full_range(frame.luma_hw)
    return luma_hw


def _told(pair: PicturePair) -> str:
    return " and ".join(f"{picture_hw.shape[1]}x{picture_hw.shape[0]}" for picture_hw in pair)
