"""What `irvis train clip` can be told; a TOML file and `key=value` fill these fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from irvis_runtime.contract import MIN_SIDE_PX
from irvis_runtime.errors import ContractError

TOWER_FACTOR = 32
"""A ModifiedResNet halves its picture five times."""
VOCABULARY = 49408
"""Of open_clip's tokenizer."""


@dataclass(frozen=True)
class ClipShape:
    """An open_clip model with a ModifiedResNet for pictures, whose every reduction averages first."""

    picture_px: int = field(
        default=128, metadata={"doc": "side of the square that the image tower sees; a multiple of 32"}
    )
    width: int = field(
        default=16, metadata={"doc": "channels behind the image tower's stem; a multiple of 2"}
    )
    layers: tuple[int, int, int, int] = field(
        default=(1, 2, 2, 1), metadata={"doc": "residual blocks of the image tower's four stages"}
    )
    embedding: int = field(default=128, metadata={"doc": "length of an embedding"})
    text_width: int = field(default=64, metadata={"doc": "width of the text tower; a multiple of text_heads"})
    text_heads: int = field(default=4, metadata={"doc": "attention heads of the text tower"})
    text_layers: int = field(default=2, metadata={"doc": "layers of the text tower"})
    context_length: int = field(default=32, metadata={"doc": "most tokens of a text, its two ends included"})

    def __post_init__(self) -> None:
        """ContractError for a shape that open_clip cannot build."""
        for name, step in (("picture_px", TOWER_FACTOR), ("width", 2), ("text_width", self.text_heads)):
            value = getattr(self, name)
            if step < 1 or value < step or value % step:
                raise ContractError(f"{name}: expected a multiple of {step}, got {value}")
        for name in ("embedding", "text_heads", "text_layers"):
            if getattr(self, name) < 1:
                raise ContractError(f"{name}: expected 1 or more, got {getattr(self, name)}")
        if min(self.layers) < 1:
            raise ContractError(f"layers: expected 1 or more in each stage, got {list(self.layers)}")
        if self.context_length < 20:
            raise ContractError(
                f"context_length: expected 20 or more, got {self.context_length}; captions are that long"
            )

    def model_config(self) -> dict[str, Any]:
        """open_clip's `model_cfg`."""
        # One head for each 64 features, or a single one where there are fewer.
        features = self.width * 32
        return {
            "embed_dim": self.embedding,
            "vision_cfg": {
                "image_size": self.picture_px,
                "layers": list(self.layers),
                "width": self.width,
                "head_width": min(64, features),
                "patch_size": None,
            },
            "text_cfg": {
                "context_length": self.context_length,
                "vocab_size": VOCABULARY,
                "width": self.text_width,
                "heads": self.text_heads,
                "layers": self.text_layers,
            },
        }


@dataclass(frozen=True)
class ClipTrainingConfig:
    """Training of a small CLIP of this domain from captioned pictures."""

    teacher: str = field(
        metadata={"doc": "what load_teacher takes; its outputs are the fused pictures that captions praise"}
    )
    pairs: tuple[str, ...] = field(metadata={"doc": "folders searched for ir/ and vis/ to train on"})
    val_pairs: tuple[str, ...] = field(metadata={"doc": "folders of pairs to judge by, never trained on"})
    output: str = field(
        metadata={"doc": "the run's folder: checkpoint, log, and the model in its folder clip/"}
    )
    fused_pictures: tuple[str, ...] = field(
        default=(),
        metadata={
            "doc": "folders of published fused pictures of these pairs, by their names: further examples"
        },
    )
    exclude: tuple[str, ...] = field(
        default=(), metadata={"doc": "parts of pair names that are left out, as LLVIP"}
    )
    val_exclude: tuple[str, ...] = field(default=(), metadata={"doc": "the same for the pairs to judge by"})
    longest_side_px: int = field(default=800, metadata={"doc": "larger pictures are reduced to this first"})
    shape: ClipShape = field(default_factory=ClipShape, metadata={"doc": "the model's size"})
    steps: int = field(default=2000, metadata={"doc": "optimizer steps of the whole run"})
    groups: int = field(
        default=2, metadata={"doc": "groups a step; a group holds a picture of every meaning, 30 in all"}
    )
    learning_rate: float = field(default=2e-3, metadata={"doc": "peak of the cosine schedule (Adam)"})
    warmup_steps: int = field(default=100, metadata={"doc": "steps of linear warm-up"})
    looks_weight: float = field(
        default=0.5,
        metadata={
            "doc": "weight of a second contrast, among the nine looks of sound fused pictures alone: they "
            "are the nearest to each other, and what a teacher is steered by"
        },
    )
    attack_levels: float = field(
        default=4.0,
        metadata={
            "doc": "grey levels by which one group a step is changed against the tower, at most; 0: never. "
            "A tower trained so cannot be pleased by patterns that nobody sees"
        },
    )
    attack_from: float = field(
        default=0.3,
        metadata={"doc": "share of the run from which groups are attacked; before, it learns faster"},
    )
    average: float = field(
        default=0.995, metadata={"doc": "decay of the averaged weights, which are those written"}
    )
    precision: Literal["fp32", "bf16"] = field(
        default="bf16", metadata={"doc": "arithmetic of the image tower in training"}
    )
    seed: int = field(default=1, metadata={"doc": "decides the weights at the start and every batch"})
    threads: int = field(default=0, metadata={"doc": "CPU threads; 0: all cores"})
    device: str = field(
        default="auto", metadata={"doc": "cpu, cuda, cuda:0; auto: the GPU where there is one"}
    )
    validate_every: int = field(default=250, metadata={"doc": "steps between validations"})
    checkpoint_every: int = field(default=100, metadata={"doc": "steps between checkpoints"})
    cache: str = field(
        default="runs/teacher-cache", metadata={"doc": "folder of the teacher's cached outputs"}
    )

    def __post_init__(self) -> None:
        """ContractError for values that would fail or mislead later, in the middle of a run."""
        for name in ("steps", "groups", "validate_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ContractError(f"{name}: expected 1 or more, got {getattr(self, name)}")
        for name in ("warmup_steps", "threads", "seed", "looks_weight"):
            if getattr(self, name) < 0:
                raise ContractError(f"{name}: expected 0 or more, got {getattr(self, name)}")
        if not 0.0 <= self.attack_levels <= 32.0:
            raise ContractError(f"attack_levels: expected 0 to 32 grey levels, got {self.attack_levels}")
        if not 0.0 <= self.attack_from <= 1.0:
            raise ContractError(f"attack_from: expected a share from 0 to 1, got {self.attack_from}")
        if not 0.0 <= self.average < 1.0:
            raise ContractError(f"average: expected a decay from 0 to below 1, got {self.average}")
        if not 0.0 < self.learning_rate < 1.0:
            raise ContractError(f"learning_rate: expected a number between 0 and 1, got {self.learning_rate}")
        if self.longest_side_px < MIN_SIDE_PX:
            raise ContractError(
                f"longest_side_px: expected {MIN_SIDE_PX} or more, got {self.longest_side_px}"
            )
        if not self.pairs or not self.val_pairs:
            raise ContractError("pairs and val_pairs: expected at least one folder each")
