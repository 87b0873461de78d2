"""What one run of `irvis judge` found, and the limits that it is held to."""

from __future__ import annotations

from dataclasses import dataclass, field

from irvis_runtime.errors import ContractError
from irvis_runtime.report.pareto import Point

from .fidelity import Likeness
from .flicker import FlickerSummary
from .metrics_table import MetricsTable
from .patch import JumpSummary
from .robust import RobustnessSummary
from .tiles import TileSummary

SCHEMA = 1


@dataclass(frozen=True)
class Limits:
    """What a model has to reach."""

    psnr_db: float = field(default=27.0, metadata={"doc": "mean PSNR to the teacher, at least"})
    ssim: float = field(default=0.90, metadata={"doc": "mean SSIM to the teacher, at least"})
    flicker_ratio: float = field(
        default=1.1, metadata={"doc": "change of the fused picture against its inputs', at most"}
    )
    flicker_excess_share: float = field(
        default=1 / 3, metadata={"doc": "excess over 1 as a share of the published student's, at most"}
    )
    patch_levels: float = field(
        default=0.3,
        metadata={"doc": "mean jump of distant pixels as a patch appears, levels, below"},
    )
    tile_lsb: int = field(
        default=2, metadata={"doc": "largest difference of a tile from the whole, levels, at most"}
    )
    speed_fp32: float = field(
        default=6.0, metadata={"doc": "speed of FP32 against the teacher's ONNX, at least"}
    )
    speed_int8: float = field(
        default=16.0, metadata={"doc": "speed of INT8 against the teacher's ONNX, at least"}
    )

    def __post_init__(self) -> None:
        """ContractError for limits that nothing or everything would keep."""
        for name in ("flicker_ratio", "flicker_excess_share", "patch_levels", "tile_lsb"):
            if getattr(self, name) < 0:
                raise ContractError(f"{name}: expected 0 or more, got {getattr(self, name)}")


@dataclass(frozen=True)
class Verdict:
    """One model against one limit."""

    model: str
    figure: str
    found: float
    limit: float
    passed: bool
    note: str = ""
    """What the published student has, or where the figure is worst."""


@dataclass(frozen=True)
class JudgedModel:
    """What was judged."""

    name: str
    folder: str
    sha256: str
    """Of the ONNX file that ran."""
    backend: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Setting:
    """On what, and how."""

    teacher: str
    teacher_sha256: str
    """Of its weights."""
    pairs: tuple[str, ...]
    longest_side_px: int
    static_pairs: tuple[str, ...]
    noise_sigma: float
    """Grey levels, of each of both pictures."""
    noise_frames: int
    clips: dict[str, int]
    """Frames of each."""
    patch_pairs: tuple[str, ...]
    context_s: float
    """Time constant of the context's smoothing, at 30 frames a second."""
    tile_pairs: tuple[str, ...]
    robust_pairs: tuple[str, ...]
    severities: tuple[float, ...]


@dataclass(frozen=True)
class Judged:
    """One run; every mapping of results is by contender."""

    schema: int
    date: str
    """ISO 8601, UTC."""
    command: str
    irvis: str
    models: tuple[JudgedModel, ...]
    setting: Setting
    limits: Limits
    likeness: dict[str, Likeness]
    static_flicker: dict[str, FlickerSummary]
    clip_flicker: dict[str, FlickerSummary]
    patch: dict[str, dict[str, JumpSummary]]
    """By the picture in which the patch appears."""
    tiles: dict[str, TileSummary]
    moved: dict[str, dict[str, float]]
    """PSNR in dB by what was done to the picture."""
    robustness: dict[str, RobustnessSummary]
    metrics: dict[str, MetricsTable]
    """By set of pairs."""
    speed: tuple[Point, ...]
    """From bench files."""
    seconds: dict[str, float]
    """What each figure took."""
    not_measured: tuple[str, ...]
