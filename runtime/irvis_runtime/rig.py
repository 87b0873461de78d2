"""The rig file: which cameras, how they lie to each other, where the picture goes, and the limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .config import load_config
from .context import DEFAULT_CONTEXT_S
from .errors import ContractError

Row = tuple[float, float, float]

# Beyond this the inverse has lost half of float64's digits.
MAX_CONDITION = 1e8


def _at_least(config: object, name: str, low: float) -> None:
    value = getattr(config, name)
    if value < low:
        raise ContractError(f"{name}: expected {low:g} or more, got {value:g}")


@dataclass(frozen=True)
class CameraConfig:
    """One camera."""

    source: str = field(metadata={"doc": "csi://, v4l2://, rtsp://, file:// or test:// URI"})
    latency_ms: float = field(
        default=0.0, metadata={"doc": "constant delay of this camera's timestamps behind the light"}
    )


@dataclass(frozen=True)
class RegistrationConfig:
    """How the infrared picture lies on the visible one."""

    homography: tuple[Row, Row, Row] | None = field(
        default=None,
        metadata={"doc": "infrared pixels -> visible pixels; absent: infrared is stretched onto visible"},
    )
    crop: Literal["none", "common"] = field(
        default="none",
        metadata={
            "doc": "common: only what both cameras see goes out, from the first infrared frame on; "
            "none: all that the visible camera sees"
        },
    )
    focal_px: float | None = field(
        default=None, metadata={"doc": "focal length of the visible camera in pixels, for the parallax"}
    )
    baseline_m: tuple[float, float] | None = field(
        default=None,
        metadata={"doc": "where the infrared camera stands, seen from the visible one: to the right, down"},
    )
    calibrated_m: float | None = field(
        default=None, metadata={"doc": "distance at which the homography was taken; absent: far away"}
    )
    distance_m: float | None = field(
        default=None, metadata={"doc": "distance at which the two pictures shall agree; absent: far away"}
    )

    def __post_init__(self) -> None:
        """ContractError where the matrix has no usable inverse, or the parallax is told by halves."""
        self._check_parallax()
        if self.homography is None:
            return
        matrix = np.array(self.homography)
        if not np.linalg.cond(_equilibrated(matrix)) < MAX_CONDITION:
            raise ContractError(
                "homography: expected an invertible 3x3 matrix, "
                f"got {[list(row) for row in self.homography]}; calibrate again, or leave it out to stretch"
            )

    def _check_parallax(self) -> None:
        for name in ("focal_px", "calibrated_m", "distance_m"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ContractError(f"{name}: expected a number above 0, got {value:g}")
        has_distance = self.calibrated_m is not None or self.distance_m is not None
        if has_distance and (self.focal_px is None or self.baseline_m is None):
            raise ContractError(
                "distance_m and calibrated_m: expected focal_px and baseline_m beside them; add both"
            )


@dataclass(frozen=True)
class OutputConfig:
    """One place where the picture goes."""

    sink: str = field(
        metadata={
            "doc": "file://name.mkv ({time} in it: the start), rtp://host:port, or null:// (encoded nowhere)"
        }
    )
    bitrate_kbps: int = field(default=4000, metadata={"doc": "rate of the H.264 encoder"})
    overwrite: bool = field(default=False, metadata={"doc": "replace an existing recording of this name"})

    def __post_init__(self) -> None:
        """ContractError for a rate that no encoder takes."""
        if not 16 <= self.bitrate_kbps <= 100_000:
            raise ContractError(f"bitrate_kbps: expected 16 to 100000, got {self.bitrate_kbps}")


@dataclass(frozen=True)
class FusionConfig:
    """What fuses."""

    model: Path | None = field(default=None, metadata={"doc": "model directory; absent: the shipped one"})
    precision: str = field(
        default="auto", metadata={"doc": "auto, or one of the model's files: fp32, fp16, int8, ..."}
    )
    backend: Literal["auto", "onnxruntime", "tensorrt"] = field(
        default="auto", metadata={"doc": "what runs the model"}
    )
    threads: int | None = field(default=None, metadata={"doc": "CPU threads of the model; absent: all cores"})
    context_s: float = field(
        default=DEFAULT_CONTEXT_S,
        metadata={"doc": "time constant with which exposure and scene follow a change; 0: at once"},
    )

    def __post_init__(self) -> None:
        """ContractError for numbers below their least."""
        _at_least(self, "context_s", 0)
        if self.threads is not None:
            _at_least(self, "threads", 1)


@dataclass(frozen=True)
class LimitsConfig:
    """When a frame is too late and a camera lost."""

    max_skew_ms: float = field(
        default=120.0,
        metadata={"doc": "largest difference in time of two frames of a pair; a 9 Hz camera needs 120"},
    )
    hold_ms: float = field(
        default=1000.0,
        metadata={"doc": "how long the last infrared frame is fused on, as in a shutter's 0.3 to 1 s"},
    )
    lost_ms: float = field(
        default=500.0, metadata={"doc": "without a frame for so long a camera counts as lost"}
    )
    restart_ms: float = field(
        default=3000.0, metadata={"doc": "without a frame for so long a camera is closed and opened again"}
    )
    start_ms: float = field(
        default=10_000.0, metadata={"doc": "how long the first frame of a camera is waited for"}
    )
    agc_s: float = field(
        default=1.0, metadata={"doc": "time constant of the gain of a 16-bit infrared camera"}
    )

    def __post_init__(self) -> None:
        """ContractError for numbers below their least."""
        for name in ("max_skew_ms", "hold_ms", "agc_s"):
            _at_least(self, name, 0)
        for name in ("lost_ms", "restart_ms", "start_ms"):
            _at_least(self, name, 10)


@dataclass(frozen=True)
class Rig:
    """Two cameras and what becomes of their pictures."""

    visible: CameraConfig = field(
        metadata={"doc": "the visible camera; its picture is the frame of everything"}
    )
    infrared: CameraConfig = field(metadata={"doc": "the infrared camera, 8 or 16 bit"})
    output: tuple[OutputConfig, ...] = field(
        metadata={"doc": "one [[output]] for each place where the picture goes"}
    )
    registration: RegistrationConfig = field(
        default_factory=RegistrationConfig, metadata={"doc": "infrared onto visible"}
    )
    fusion: FusionConfig = field(default_factory=FusionConfig, metadata={"doc": "the model"})
    limits: LimitsConfig = field(default_factory=LimitsConfig, metadata={"doc": "times"})

    def __post_init__(self) -> None:
        """ContractError where the picture would go nowhere, or twice to one place."""
        if not self.output:
            raise ContractError('output: expected at least one [[output]]; sink = "null://" encodes nowhere')
        sinks = [output.sink for output in self.output]
        for sink in sinks:
            if sinks.count(sink) > 1 and not sink.startswith("null://"):
                raise ContractError(f"output: {sink} is given twice; give each [[output]] a place of its own")


def load_rig(path: Path, overrides: Sequence[str] = ()) -> Rig:
    """Returns the checked rig; ContractError says what is wrong with the file or an argument `key=value`."""
    return load_config(Rig, path, overrides)


def _equilibrated(matrix_33: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix with columns, then rows, of unit length, so that its condition does not depend on units.

    The last row of a homography is smaller than the translations by the square of the picture's side.
    """
    for axis in (1, 0):
        norms = np.linalg.norm(matrix_33, axis=axis, keepdims=True)
        matrix_33 = matrix_33 / np.where(norms > 0, norms, 1.0)
    return matrix_33
