"""The rig file: which cameras, how they lie to each other, where the picture goes, and the limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .backends.choice import BackendOrAuto
from .config import load_config
from .context import DEFAULT_CONTEXT_S
from .errors import ContractError
from .thermal.config import ThermalConfig

Row = tuple[float, float, float]
View = Literal["fused", "visible", "thermal", "side-by-side", "picture-in-picture", "blend"]

# Beyond this the inverse has lost half of float64's digits.
MAX_CONDITION = 1e8


def _at_least(config: object, name: str, low: float) -> None:
    value = getattr(config, name)
    if value < low:
        raise ContractError(f"{name}: expected {low:g} or more, got {value:g}")


@dataclass(frozen=True)
class CameraConfig:
    """One camera."""

    source: str = field(
        metadata={
            "doc": "csi://, v4l2://, rtsp://, rtsps://, udp://, file://, images://, raw:// or test:// URI"
        }
    )
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
    infrared_size: tuple[int, int] | None = field(
        default=None,
        metadata={
            "doc": "[width, height] of the infrared pictures that the homography is of; others are scaled; "
            "absent: the first that come"
        },
    )
    visible_size: tuple[int, int] | None = field(
        default=None, metadata={"doc": "the same of the visible pictures, and of focal_px"}
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
        for name in ("infrared_size", "visible_size"):
            size = getattr(self, name)
            if size is not None and min(size) < 1:
                raise ContractError(f"{name}: expected [width, height] in pixels, got {list(size)}")
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
            "doc": "file://name.mkv, .mp4, .jpg or .png ({time} in it: the start), rtp://host:port, "
            "udp://host:port (MPEG-TS), rtsp://127.0.0.1:8554/name, rtsps:// (the same with TLS), "
            "shm:///path (raw NV12), display://, null://"
        }
    )
    view: View = field(
        default="fused", metadata={"doc": "what it shows; where a camera is missing, the other's picture"}
    )
    codec: Literal["h264", "h265"] = field(default="h264", metadata={"doc": "what encodes, 4:2:0, 8 bit"})
    bitrate_kbps: int = field(default=4000, metadata={"doc": "rate of the encoder, at 30 pictures a second"})
    keyframe_interval: int = field(
        default=30, metadata={"doc": "pictures from one that can be entered at to the next"}
    )
    stall_ms: float = field(
        default=2000.0,
        metadata={"doc": "a sink that takes no picture for so long is closed and opened again"},
    )
    overwrite: bool = field(default=False, metadata={"doc": "replace an existing recording of this name"})
    rotate_s: float = field(default=0.0, metadata={"doc": "a recording goes on in a new piece; 0: never"})
    rotate_mib: int = field(default=0, metadata={"doc": "the same by the piece's size; 0: never"})
    keep_pieces: int = field(
        default=0, metadata={"doc": "pieces of this name to keep, the oldest are deleted; 0: all"}
    )
    keep_free_mib: int = field(
        default=0,
        metadata={"doc": "free space to keep: old pieces are deleted, then recording stops; 0: none"},
    )
    every_s: float = field(default=1.0, metadata={"doc": "seconds between pictures of a .jpg or .png"})
    credentials: Path | None = field(
        default=None, metadata={"doc": "file with the line user:password that rtsp:// and rtsps:// ask for"}
    )
    certificate: Path | None = field(
        default=None, metadata={"doc": "PEM file that rtsps:// shows to players; it may hold the key, too"}
    )
    private_key: Path | None = field(
        default=None, metadata={"doc": "PEM file with the certificate's key; absent: in the same file"}
    )

    def __post_init__(self) -> None:
        """ContractError for numbers that no encoder or disk takes."""
        if not 16 <= self.bitrate_kbps <= 100_000:
            raise ContractError(f"bitrate_kbps: expected 16 to 100000, got {self.bitrate_kbps}")
        _at_least(self, "keyframe_interval", 1)
        _at_least(self, "stall_ms", 100)
        _at_least(self, "every_s", 0.05)
        for name in ("rotate_s", "rotate_mib", "keep_pieces", "keep_free_mib"):
            _at_least(self, name, 0)


@dataclass(frozen=True)
class FusionConfig:
    """What fuses."""

    model: Path | None = field(default=None, metadata={"doc": "model directory; absent: the shipped one"})
    precision: str = field(
        default="auto", metadata={"doc": "auto, or one of the model's files: fp32, fp16, int8, ..."}
    )
    backend: BackendOrAuto = field(default="auto", metadata={"doc": "what runs the model"})
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
        default=180.0,
        metadata={
            "doc": "largest difference in time of two frames of a pair; a 9 Hz camera needs its period, 115, "
            "and by how much later than the visible ones its frames come"
        },
    )
    wait_ms: float = field(
        default=10.0,
        metadata={
            "doc": "how long a visible frame waits at most for an infrared one that is due, and nearer in "
            "time than those that are here; 0: never"
        },
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
    settle_ms: float = field(
        default=1000.0,
        metadata={"doc": "how long a camera that was away must send steadily before it takes part again"},
    )
    frozen_ms: float = field(
        default=3000.0,
        metadata={"doc": "a camera that repeats one picture exactly for so long is opened again; 0: never"},
    )
    black_ms: float = field(
        default=5000.0,
        metadata={"doc": "a camera that shows nothing above black for so long is opened again; 0: never"},
    )
    slow_fps: float = field(
        default=3.0,
        metadata={"doc": "a camera below this rate, or half its own, for 5 s is opened again; 0: never"},
    )

    def __post_init__(self) -> None:
        """ContractError for numbers below their least."""
        for name in ("max_skew_ms", "wait_ms", "hold_ms", "settle_ms", "frozen_ms", "black_ms", "slow_fps"):
            _at_least(self, name, 0)
        for name in ("lost_ms", "restart_ms", "start_ms"):
            _at_least(self, name, 10)


@dataclass(frozen=True)
class PictureConfig:
    """What is written into the picture."""

    corner: bool = field(
        default=False, metadata={"doc": "the state and the picture's number at the top left"}
    )


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
    thermal: ThermalConfig = field(
        default_factory=ThermalConfig, metadata={"doc": "the infrared camera's counts, shutter and colours"}
    )
    limits: LimitsConfig = field(default_factory=LimitsConfig, metadata={"doc": "times"})
    picture: PictureConfig = field(default_factory=PictureConfig, metadata={"doc": "what is written in it"})

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
