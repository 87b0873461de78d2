"""What `irvis train teacher` can be told; the defaults are the paper's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from irvis_runtime.contract import MIN_SIDE_PX
from irvis_runtime.errors import ContractError

from .clip import ClipConfig
from .objective import ObjectiveConfig

SCRATCH = "scratch"
MILESTONES = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Shares of a run after which the paper halves the learning rate."""


@dataclass(frozen=True)
class TeacherConfig:
    """Training of a teacher by language."""

    pairs: tuple[str, ...] = field(metadata={"doc": "folders searched for ir/ and vis/ to train on"})
    output: str = field(metadata={"doc": "the run's folder: checkpoint, log, samples, and the teacher"})
    name: str = field(default="teacher", metadata={"doc": "the result is OUTPUT/NAME.safetensors"})
    start: str = field(default=SCRATCH, metadata={"doc": "scratch, or a teacher's checkpoint to begin from"})
    width: int | None = field(
        default=None, metadata={"doc": "channels after the first convolution; default the start's, or 16"}
    )
    style: bool | None = field(
        default=None, metadata={"doc": "with the style branch; default as the start, or with it"}
    )
    exclude: tuple[str, ...] = field(
        default=(), metadata={"doc": "parts of pair names that are left out, as LLVIP"}
    )
    val_pairs: tuple[str, ...] = field(
        default=(), metadata={"doc": "folders of pairs for samples and measures; default: pairs"}
    )
    val_exclude: tuple[str, ...] = field(default=(), metadata={"doc": "the same for the pairs to judge by"})
    longest_side_px: int = field(default=800, metadata={"doc": "larger pictures are reduced to this"})
    clip: ClipConfig = field(default_factory=ClipConfig, metadata={"doc": "the CLIP that judges"})
    objective: ObjectiveConfig = field(
        default_factory=ObjectiveConfig, metadata={"doc": "texts and weights of the language-driven loss"}
    )
    gradient_weight: float = field(
        default=0.0, metadata={"doc": "weight of the gradients' distance to the larger of the sources'"}
    )
    intensity_weight: float = field(
        default=0.0, metadata={"doc": "weight of the distance to the larger of the sources"}
    )
    anchor_weight: float = field(
        default=0.0, metadata={"doc": "weight of the distance to the start's own output"}
    )
    balanced: bool = field(
        default=False,
        metadata={"doc": "keep the transposed convolutions' kernels such that they draw no checkerboard"},
    )
    steps: int = field(default=30000, metadata={"doc": "optimizer steps of the whole run"})
    batch: int = field(default=16, metadata={"doc": "crops a step, over all processes together"})
    crop_px: int = field(default=224, metadata={"doc": "side of a crop"})
    zoom: tuple[float, float] = field(
        default=(1.0, 1.5), metadata={"doc": "range by which crops are enlarged"}
    )
    target_share: float = field(
        default=0.0, metadata={"doc": "share of crops that are centred on a hot target"}
    )
    input_noise: float = field(
        default=0.03, metadata={"doc": "deviation of the noise on what the network sees, of 1"}
    )
    learning_rate: float = field(default=5e-4, metadata={"doc": "Adam's, after the warm-up"})
    schedule: Literal["multistep", "cosine"] = field(
        default="multistep",
        metadata={"doc": "halved at 50, 60, 70, 80 and 90 % of the run, or a cosine to 0"},
    )
    warmup_steps: int = field(default=300, metadata={"doc": "steps of linear warm-up"})
    gradient_clip: float = field(default=1.0, metadata={"doc": "largest norm of all gradients together"})
    ema_decay: float = field(
        default=0.0, metadata={"doc": "of the weights' moving average, which is then the result; 0: off"}
    )
    precision: Literal["fp32", "bf16", "fp16"] = field(
        default="fp32", metadata={"doc": "arithmetic of the convolutions; norms and losses are fp32"}
    )
    seed: int = field(default=1, metadata={"doc": "decides the weights at the start and every batch"})
    threads: int = field(default=0, metadata={"doc": "CPU threads; 0: all cores"})
    device: str = field(
        default="auto", metadata={"doc": "cpu, cuda, cuda:0; auto: the GPU where there is one"}
    )
    log_every: int = field(default=10, metadata={"doc": "steps between rows of losses in log.jsonl"})
    samples_every: int = field(default=500, metadata={"doc": "steps between samples and measures"})
    sample_count: int = field(default=6, metadata={"doc": "pairs for samples and measures"})
    checkpoint_every: int = field(default=200, metadata={"doc": "steps between checkpoints"})

    def __post_init__(self) -> None:
        """ContractError for values that would fail or mislead later, in the middle of a run."""
        for name in ("steps", "batch", "log_every", "samples_every", "sample_count", "checkpoint_every"):
            _expect(getattr(self, name) >= 1, name, "1 or more", getattr(self, name))
        for name in ("gradient_weight", "intensity_weight", "anchor_weight", "input_noise", "warmup_steps"):
            _expect(getattr(self, name) >= 0, name, "0 or more", getattr(self, name))
        for name in ("threads", "seed"):
            _expect(getattr(self, name) >= 0, name, "0 or more", getattr(self, name))
        for name in ("crop_px", "longest_side_px"):
            _expect(getattr(self, name) >= MIN_SIDE_PX, name, f"{MIN_SIDE_PX} or more", getattr(self, name))
        _expect(self.width is None or 1 <= self.width <= 256, "width", "1 to 256", self.width)
        _expect(0.5 <= self.zoom[0] <= self.zoom[1] <= 8.0, "zoom", "a range from 0.5 to 8", self.zoom)
        _expect(0.0 <= self.target_share <= 1.0, "target_share", "a share from 0 to 1", self.target_share)
        _expect(0.0 < self.learning_rate < 1.0, "learning_rate", "between 0 and 1", self.learning_rate)
        _expect(self.gradient_clip > 0.0, "gradient_clip", "more than 0", self.gradient_clip)
        _expect(0.0 <= self.ema_decay < 1.0, "ema_decay", "from 0 to less than 1", self.ema_decay)
        _expect(bool(self.pairs), "pairs", "at least one folder", list(self.pairs))
        _expect(bool(self.name) and "/" not in self.name, "name", "a file's name", self.name)
        if self.anchor_weight and self.start == SCRATCH:
            raise ContractError(
                "anchor_weight: needs a start to hold on to; name a checkpoint, or set it to 0"
            )


def _expect(holds: bool, name: str, expected: str, got: object) -> None:
    if not holds:
        raise ContractError(f"{name}: expected {expected}, got {got!r}")
