"""What `irvis train student` can be told; a TOML file and `key=value` fill these fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from irvis_runtime.contract import MIN_SIDE_PX, Manifest, manifest_to_json
from irvis_runtime.errors import ContractError

from .clip import ClipConfig
from .objective import ObjectiveConfig
from .student_shape import StudentShape


@dataclass(frozen=True)
class DistillConfig:
    """Distillation of a student from its teacher's outputs."""

    teacher: str = field(
        metadata={"doc": "what load_teacher takes: a checkpoint, a folder of two, a model directory"}
    )
    pairs: tuple[str, ...] = field(metadata={"doc": "folders searched for ir/ and vis/ to train on"})
    val_pairs: tuple[str, ...] = field(metadata={"doc": "folders of pairs to judge by, never trained on"})
    output: str = field(
        metadata={"doc": "the run's folder: checkpoints, log, samples, and the model directory"}
    )
    name: str = field(default="irvis-s", metadata={"doc": "the model's name"})
    student: StudentShape = field(default_factory=StudentShape, metadata={"doc": "the student's size"})
    exclude: tuple[str, ...] = field(
        default=(), metadata={"doc": "parts of pair names that are left out, as LLVIP"}
    )
    val_exclude: tuple[str, ...] = field(default=(), metadata={"doc": "the same for the pairs to judge by"})
    longest_side_px: int = field(
        default=800, metadata={"doc": "larger pictures are reduced to this before labelling"}
    )
    steps: int = field(default=20000, metadata={"doc": "optimizer steps of the whole run"})
    batch: int = field(default=8, metadata={"doc": "crops a step"})
    crop_px: int = field(
        default=192, metadata={"doc": "side of a crop; a multiple of 8, of 32 with a wide branch"}
    )
    late_from: float = field(default=0.7, metadata={"doc": "share of the run after which crops are large"})
    late_batch: int = field(default=2, metadata={"doc": "crops a step in the late part"})
    late_crop_px: int = field(default=384, metadata={"doc": "side of a crop in the late part; likewise"})
    fresh_every: int = field(
        default=3,
        metadata={"doc": "every n-th batch is changed at random and labelled anew by the teacher; 0: never"},
    )
    whole_every: int = field(
        default=0,
        metadata={
            "doc": "every n-th of the other batches is of whole pictures; 0: they are crops, whose targets "
            "know what lay around"
        },
    )
    whole_batch: int = field(default=1, metadata={"doc": "whole pictures a step, all of one size"})
    degraded_every: int = field(
        default=0,
        metadata={"doc": "every n-th batch is degraded, its target the teacher's clean output; 0: never"},
    )
    max_severity: float = field(default=0.6, metadata={"doc": "strongest degradation, 0 to 1"})
    clips: tuple[str, ...] = field(
        default=(), metadata={"doc": "parts of names of pairs that are consecutive frames of clips"}
    )
    clips_every: int = field(
        default=0, metadata={"doc": "every n-th batch is of neighbouring frames of clips; 0: never"}
    )
    patches_every: int = field(
        default=0,
        metadata={
            "doc": "every n-th batch is of whole pictures, and again with a rectangle that appears; 0: never"
        },
    )
    patch_weight: float = field(
        default=5.0, metadata={"doc": "weight of what that changes more than 64 px away from it"}
    )
    start: str = field(
        default="teacher",
        metadata={
            "doc": "whose deep layers the student starts with: teacher (of the published topology), a model "
            "directory with fine ends, or nothing (random weights); a model directory of the student's own "
            "shape: all of it, to train on"
        },
    )
    guide_steps: int = field(
        default=800,
        metadata={"doc": "steps at the start in which block ends learn alone what the start's ends do"},
    )
    learning_rate: float = field(default=2e-3, metadata={"doc": "peak of the cosine schedule (Adam)"})
    warmup_steps: int = field(default=200, metadata={"doc": "steps of linear warm-up"})
    gradient_weight: float = field(default=1.0, metadata={"doc": "weight of the L1 of picture gradients"})
    ssim_weight: float = field(default=0.15, metadata={"doc": "weight of 1 - SSIM"})
    coarse_weight: float = field(
        default=0.0, metadata={"doc": "weight of the L1 of means over 16x16 px, for brightness of regions"}
    )
    psnr_weight: float = field(
        default=0.0, metadata={"doc": "weight of each picture's negative PSNR in dB; 0.005 is about an L1"}
    )
    flicker_weight: float = field(
        default=0.5, metadata={"doc": "weight of the difference between a picture and its repeat"}
    )
    language_weight: float = field(
        default=0.0, metadata={"doc": "weight of the language objective on the student itself; 0: without"}
    )
    clip: ClipConfig = field(default_factory=ClipConfig, metadata={"doc": "the CLIP of that objective"})
    objective: ObjectiveConfig = field(
        default_factory=ObjectiveConfig, metadata={"doc": "the texts and weights of that objective"}
    )
    precision: Literal["fp32", "bf16"] = field(
        default="bf16",
        metadata={"doc": "arithmetic of the convolutions; the last tenth of a run is always fp32"},
    )
    seed: int = field(default=1, metadata={"doc": "decides the weights at the start and every batch"})
    threads: int = field(default=0, metadata={"doc": "CPU threads; 0: all cores"})
    device: str = field(
        default="auto", metadata={"doc": "cpu, cuda, cuda:0; auto: the GPU where there is one"}
    )
    validate_every: int = field(
        default=1000, metadata={"doc": "steps between validations and sample pictures"}
    )
    checkpoint_every: int = field(default=200, metadata={"doc": "steps between checkpoints"})
    cache: str = field(
        default="runs/teacher-cache", metadata={"doc": "folder of the teacher's cached outputs"}
    )

    def __post_init__(self) -> None:
        """ContractError for values that would fail or mislead later, in the middle of a run."""
        for name in ("steps", "batch", "late_batch", "whole_batch", "validate_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ContractError(f"{name}: expected 1 or more, got {getattr(self, name)}")
        multiple_px = self.student.multiple_px
        for name in ("crop_px", "late_crop_px"):
            if getattr(self, name) < multiple_px or getattr(self, name) % multiple_px:
                raise ContractError(
                    f"{name}: expected a multiple of {multiple_px}, got {getattr(self, name)}"
                )
        at_least_0 = (
            *(
                "fresh_every",
                "whole_every",
                "degraded_every",
                "clips_every",
                "patches_every",
                "warmup_steps",
                "guide_steps",
                "threads",
                "seed",
            ),
            *(
                "gradient_weight",
                "ssim_weight",
                "coarse_weight",
                "psnr_weight",
                "flicker_weight",
                "patch_weight",
                "language_weight",
            ),
        )
        for name in at_least_0:
            if getattr(self, name) < 0:
                raise ContractError(f"{name}: expected 0 or more, got {getattr(self, name)}")
        for name in ("late_from", "max_severity"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ContractError(f"{name}: expected a share from 0 to 1, got {getattr(self, name)}")
        repeats = self.degraded_every or self.clips_every
        if repeats and (self.batch % 2 or self.late_batch % 2):
            raise ContractError("batch, late_batch: expected even numbers where batches hold repeats")
        if bool(self.clips) != bool(self.clips_every):
            raise ContractError("clips, clips_every: expected both or neither")
        if not 0.0 < self.learning_rate < 1.0:
            raise ContractError(f"learning_rate: expected a number between 0 and 1, got {self.learning_rate}")
        if self.longest_side_px < MIN_SIDE_PX:
            raise ContractError(
                f"longest_side_px: expected {MIN_SIDE_PX} or more, got {self.longest_side_px}"
            )
        # The manifest is written last; a name that it refuses must not cost a whole run.
        manifest_to_json(Manifest(self.name, {}, multiple_px, {}, {}))
        if not self.pairs or not self.val_pairs:
            raise ContractError("pairs and val_pairs: expected at least one folder each")
