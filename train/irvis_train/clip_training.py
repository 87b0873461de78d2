"""Trains a small CLIP of this domain and writes it as a folder that open_clip loads by `local-dir:`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from irvis_runtime.atomic import write_text
from irvis_runtime.config import to_mapping

from .captioned import CaptionedMaker, Scene, make_scenes
from .captions import CLEAN, MEANINGS, known_words
from .clip_config import ClipShape, ClipTrainingConfig
from .clip_evaluation import PHRASINGS, cut_validation_crops, evaluate_clip, evaluation_markdown, retrieval
from .clip_files import CONFIG_NAME, WEIGHTS_NAME, import_open_clip
from .data import read_labelled_pairs, teacher_identity
from .devices import open_device
from .fit import Schedule, fit
from .fit_extras import Extras, WeightAverage
from .teacher import load_teacher
from .tensor_files import write_tensors

MODEL_FOLDER = "clip"
EVALUATION = "evaluation"
MEAN, DEVIATION = 0.45, 0.25
"""Of pictures of this domain; both are written beside the weights."""
MAX_SCALE = 100.0
"""Of the logits, as CLIP's authors clip it."""
LOOKS = [
    index
    for index, meaning in enumerate(MEANINGS)
    if meaning.modality == "fused" and meaning.quality == CLEAN
]
MAY_DIFFER = {
    *("teacher", "pairs", "val_pairs", "val_exclude", "fused_pictures", "output", "cache"),
    *("threads", "device", "validate_every", "checkpoint_every"),
}
"""What a resumed run may be told anew: the same pictures may lie elsewhere."""


class DomainClip(nn.Module):
    """An open_clip model of a given shape, with random weights at first, and its tokenizer."""

    def __init__(self, shape: ClipShape) -> None:
        super().__init__()
        open_clip = import_open_clip()
        self.shape = shape
        self.model: Any = open_clip.model.CLIP(**shape.model_config())
        self.tokenizer = open_clip.SimpleTokenizer(context_length=shape.context_length)

    def encode_pictures(self, pictures_n1hw: Tensor) -> Tensor:
        """Raw embeddings (N, D) of pictures (N, 1, H, W) in [0, 1] of the tower's size."""
        prepared = ((pictures_n1hw - MEAN) / DEVIATION).expand(-1, 3, -1, -1)
        embeddings: Tensor = self.model.encode_image(prepared.contiguous(memory_format=torch.channels_last))
        return embeddings.float()

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Raw embeddings (K, D) of texts."""
        tokens = self.tokenizer(list(texts)).to(self.model.logit_scale.device)
        embeddings: Tensor = self.model.encode_text(tokens)
        return embeddings

    def write(self, folder: Path) -> None:
        """Writes open_clip's two files."""
        preprocess = {"mean": [MEAN] * 3, "std": [DEVIATION] * 3, "interpolation": "bilinear"}
        config = {"model_cfg": self.shape.model_config(), "preprocess_cfg": preprocess}
        write_tensors(folder / WEIGHTS_NAME, self.model.state_dict(), {"format": "pt"})
        write_text(folder / CONFIG_NAME, json.dumps(config, indent=2) + "\n")


def train_clip(config: ClipTrainingConfig) -> Path:
    """Trains a CLIP as configured and returns its folder, `<output>/clip`, which `load_clip` takes.

    Beside the weights: the evaluation on the held-out pairs, as JSON with the configuration and as Markdown.
    """
    import_open_clip()
    if config.threads:
        torch.set_num_threads(config.threads)
    device = open_device(config.device)
    teacher = load_teacher(config.teacher).to(device)
    cache, side_px = Path(config.cache), config.shape.picture_px
    pairs = read_labelled_pairs(config.pairs, config.exclude, teacher, config.longest_side_px, cache)
    scenes = make_scenes(pairs, config.fused_pictures)
    val_scenes = make_scenes(
        read_labelled_pairs(config.val_pairs, config.val_exclude, teacher, config.longest_side_px, cache)
    )
    torch.manual_seed(config.seed)
    clip = DomainClip(config.shape).to(device).to(memory_format=torch.channels_last)
    task = ClipTraining(clip, CaptionedMaker(scenes, side_px, config.seed), val_scenes, config)
    task.identity = {**task.identity, "teacher": teacher_identity(teacher)}
    schedule = Schedule(
        config.steps,
        config.warmup_steps,
        config.learning_rate,
        config.checkpoint_every,
        config.validate_every,
    )
    result = fit(task, schedule, Path(config.output), Extras(average=task.average))
    folder = Path(config.output) / MODEL_FOLDER
    trained = _towers(task.average.module.eval())
    trained.write(folder)
    evaluation = evaluate_clip(trained, task.val_crops, len(val_scenes))
    _write_evaluation(folder, evaluation, config, [scene.name for scene in scenes], result)
    return folder


class ClipTraining:
    """The task of telling captions apart; see fit.Task."""

    def __init__(
        self, clip: DomainClip, maker: CaptionedMaker, val_scenes: Sequence[Scene], config: ClipTrainingConfig
    ) -> None:
        self.module: nn.Module = clip
        self.clip = clip
        self.average = WeightAverage(clip, config.average)
        self.maker = maker
        self.config = config
        self.device = next(clip.parameters()).device
        self.clip_loss = import_open_clip().ClipLoss()
        self.val_crops = cut_validation_crops(val_scenes, config.shape.picture_px, self.device)
        self.identity: Mapping[str, Any] = {
            **{key: value for key, value in to_mapping(config).items() if key not in MAY_DIFFER},
            "pairs": [f"{scene.name} {len(scene.fused_hw)}" for scene in maker.scenes],
        }

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        """open_clip's loss of this step's groups, in each of which every caption has its own meaning."""
        batch = self.maker.batch(step, self.config.groups)
        texts = F.normalize(self.clip.encode_texts(batch.captions), dim=-1)
        pictures = batch.pictures.to(self.device)
        if self.config.attack_levels > 0.0 and step >= self.config.attack_from * self.config.steps:
            # One group a step, each in its turn.
            begin = step % batch.groups * len(MEANINGS)
            group = slice(begin, begin + len(MEANINGS))
            pictures[group] = self._attacked(pictures[group], texts[group].detach(), step)
        embeddings = self._embed(pictures)
        scale = self.clip.model.logit_scale.exp().clamp(max=MAX_SCALE)
        both = list(zip(embeddings.chunk(batch.groups), texts.chunk(batch.groups), strict=True))
        clip = torch.stack([self.clip_loss(seen, said, scale) for seen, said in both]).mean()
        looks = torch.stack([self.clip_loss(seen[LOOKS], said[LOOKS], scale) for seen, said in both]).mean()
        parts = {"clip": clip, "looks": looks, "top1": _top1(both), "scale": scale}
        loss = clip + self.config.looks_weight * looks
        return loss, {name: part.detach() for name, part in parts.items()}

    def _embed(self, pictures: Tensor) -> Tensor:
        lower = self.config.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=lower):
            return F.normalize(self.clip.encode_pictures(pictures), dim=-1)

    def _attacked(self, pictures: Tensor, texts: Tensor, step: int) -> Tensor:
        """A group whose every picture is changed by a few grey levels so that its caption fits it less.

        One signed gradient step from a random start (Wong et al. 2020, arXiv:2001.03994): the tower must
        learn that what nobody sees means nothing, and its gradients become those of what is seen.
        """
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + step)
        size = torch.rand((len(pictures), 1, 1, 1), generator=generator)
        size = (size * self.config.attack_levels / 255.0).to(self.device)
        start = (2.0 * torch.rand(pictures.shape, generator=generator) - 1.0).to(self.device) * size
        changed = (pictures + start).clamp(0.0, 1.0).requires_grad_(True)
        # In eval mode, so that the statistics of the normalisations are those of pictures, not of attacks.
        self.clip.eval()
        scale = self.clip.model.logit_scale.detach().exp().clamp(max=MAX_SCALE)
        (gradient,) = torch.autograd.grad(self.clip_loss(self._embed(changed), texts, scale), changed)
        self.clip.train()
        attacked = changed.detach() + 1.25 * size * gradient.sign()
        return torch.minimum(torch.maximum(attacked, pictures - size), pictures + size).clamp(0.0, 1.0)

    def validate(self, step: int) -> Mapping[str, float]:
        """Retrieval accuracies of the averaged weights on held-out crops."""
        average = self.average.module.eval()
        with torch.no_grad():
            return retrieval(_towers(average), self.val_crops, PHRASINGS)


def _top1(both: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    with torch.no_grad():
        found = torch.cat([(seen @ said.T).argmax(dim=1) for seen, said in both])
        own = torch.arange(len(MEANINGS), device=found.device).repeat(len(both))
        return (found == own).float().mean()


def _towers(module: nn.Module) -> DomainClip:
    if not isinstance(module, DomainClip):
        raise TypeError(f"expected a DomainClip, got {type(module).__name__}")
    return module


def _write_evaluation(
    folder: Path,
    evaluation: dict[str, Any],
    config: ClipTrainingConfig,
    names: Sequence[str],
    result: Mapping[str, float],
) -> None:
    report = {
        "format": "irvis-clip-evaluation-1",
        **evaluation,
        "training": {
            "config": to_mapping(config),
            "pairs": list(names),
            "seconds": result["seconds"],
            "words": sorted(known_words()),
        },
    }
    write_text(folder / f"{EVALUATION}.json", json.dumps(report, indent=2, allow_nan=False) + "\n")
    write_text(folder / f"{EVALUATION}.md", evaluation_markdown(evaluation))
