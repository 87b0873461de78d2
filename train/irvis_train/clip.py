"""CLIP's two towers, frozen: pictures and texts to embeddings, early features for the perceptual term.

Radford et al., "Learning transferable visual models from natural language supervision", ICML 2021,
arXiv:2103.00020; the networks are open_clip's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from irvis_runtime.errors import ContractError

from .clip_files import build_clip, find_clip, import_open_clip
from .tensor_files import read_tensors, write_tensors

EARLY_BLOCKS = 2
HALF_GRADIENT_SCALE = 4096.0
"""Gradients pass a half-precision tower this much larger, or most of them are below its smallest number."""


@dataclass(frozen=True)
class ClipConfig:
    """Which CLIP judges pictures and texts."""

    model: str = field(
        default="ViT-B-32",
        metadata={
            "doc": "open_clip's name of the model, or hf-hub:OWNER/NAME, or local-dir:FOLDER; for a file of "
            "OpenAI's weights the name that ends in -quickgelu"
        },
    )
    pretrained: str = field(
        default="openai",
        metadata={
            "doc": "open_clip's tag of the weights, or a weights file (.safetensors, .pt), or a folder with "
            "open_clip_config.json and open_clip_model.safetensors, which then says the model too"
        },
    )
    cache: str = field(
        default="runs/text-cache", metadata={"doc": "folder in which embeddings of texts are kept"}
    )


def load_clip(config: ClipConfig, device: torch.device) -> ClipTowers:
    """Returns the towers on `device`, frozen, in eval mode: half precision on CUDA, float32 elsewhere.

    ContractError for an unknown name or tag (naming the nearest), for weights that are damaged or of another
    model, and for weights that cannot be fetched, with the command that fetches them on another machine.
    """
    model, tokenizer, description = build_clip(find_clip(config.model, config.pretrained))
    # Hashed before the towers are halved, so that one CLIP has one identity on every device.
    identity = _identity(model, description)
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    return ClipTowers(model, tokenizer, identity, Path(config.cache), dtype).to(device)


class ClipTowers(nn.Module):
    """A frozen CLIP; gradients reach the pictures, never the weights."""

    identity: str
    """Hash of the weights, the model's configuration and the preprocessing: equal ones embed alike."""
    picture_px: int
    """Side of the square picture that the image tower takes."""
    _mean: Tensor
    _std: Tensor

    def __init__(self, model: Any, tokenizer: Any, identity: str, cache: Path, dtype: torch.dtype) -> None:
        """`model`, `tokenizer`: open_clip's; `cache`: the folder of text embeddings; `dtype`: the towers'."""
        super().__init__()
        self.identity = identity
        self._tokenizer = tokenizer
        self._cache = cache
        self._dtype = dtype
        preprocess = model.visual.preprocess_cfg
        sides = {preprocess["size"]} if isinstance(preprocess["size"], int) else set(preprocess["size"])
        if len(sides) != 1:
            raise ContractError(f"CLIP: expected a tower for square pictures, got {preprocess['size']}")
        self.picture_px = int(sides.pop())
        self.model: Any = model.to(dtype).eval().requires_grad_(False)
        for name in ("mean", "std"):
            values = torch.tensor(preprocess[name], dtype=torch.float32).view(1, 3, 1, 1)
            self.register_buffer(f"_{name}", values, persistent=False)

    def train(self, mode: bool = True) -> ClipTowers:
        """Stays in eval mode whatever holds it."""
        return super().train(False)

    def encode_pictures(self, pictures_n1hw: Tensor) -> Tensor:
        """Returns raw embeddings (N, D), float32, of pictures (N, 1, H, W) in [0, 1]; differentiable.

        The channel is repeated, the picture is resized to the tower's square (bilinear as published, and
        with antialiasing, which acts only where the picture is larger) and normalised by its mean and std.
        """
        return self._through(self.model.encode_image, pictures_n1hw)[0]

    def early_features(self, pictures_n1hw: Tensor) -> list[Tensor]:
        """Returns features (N, C, h, w), float32, of the image tower's first layers; differentiable.

        ModifiedResNet: stem and first stage. Vision transformer: patch embedding and first two blocks. A timm
        tower: its first two stages. ContractError for a tower of another kind.
        """
        return self._through(lambda prepared: _early_features(self.model.visual, prepared), pictures_n1hw)

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Returns raw embeddings (K, D), float32, from the cache where they are in it.

        ContractError for an empty text and for one that is longer than the text tower's context.
        """
        if not texts:
            raise ContractError("texts: expected at least one, got none; give a caption")
        return torch.stack([self._encode_text(text) for text in texts])

    def _through(
        self, tower: Callable[[Tensor], Tensor | list[Tensor]], pictures_n1hw: Tensor
    ) -> list[Tensor]:
        if pictures_n1hw.dim() != 4 or pictures_n1hw.shape[1] != 1:
            raise ContractError(f"pictures: expected (N, 1, H, W), got {tuple(pictures_n1hw.shape)}")
        prepared = self._prepare(pictures_n1hw.float())
        half = self._dtype == torch.float16
        if half:
            prepared = _scale_gradient(prepared, 1.0 / HALF_GRADIENT_SCALE)
        # The loss is made of small differences of embeddings: a caller's bfloat16 would drown them.
        with torch.autocast(prepared.device.type, enabled=False):
            output = tower(prepared.to(self._dtype))
        outputs = [each.float() for each in (output if isinstance(output, list) else [output])]
        return [_scale_gradient(each, HALF_GRADIENT_SCALE) for each in outputs] if half else outputs

    def _prepare(self, pictures_n1hw: Tensor) -> Tensor:
        size = (self.picture_px, self.picture_px)
        if pictures_n1hw.shape[-2:] != size:
            pictures_n1hw = F.interpolate(pictures_n1hw, size, mode="bilinear", antialias=True)
        return (pictures_n1hw.expand(-1, 3, -1, -1) - self._mean) / self._std

    def _encode_text(self, text: str) -> Tensor:
        tokens = self._tokens(text)
        key = hashlib.sha256(f"{self.identity} {self._dtype} {tokens.tolist()}".encode()).hexdigest()
        path = self._cache / f"{key[:32]}.safetensors"
        known = _read_embedding(path)
        if known is None:
            known = self.model.encode_text(tokens.to(self._mean.device))[0].float().cpu()
            write_tensors(path, {"embedding": known}, {"text": text})
        return known.to(self._mean.device)

    def _tokens(self, text: str) -> Tensor:
        """Tokens (1, context); the tokenizer itself would cut a long text off without a word."""
        if not text.strip():
            raise ContractError(f"text: expected a caption, got {text!r}; give at least one word")
        limit = int(self._tokenizer.context_length)
        tokens: Tensor = self._tokenizer([text], context_length=max(limit, len(text.encode()) + 8))
        used = tokens[0] != tokens[0, -1]
        length = int(used.nonzero().max()) + 1
        if length > limit:
            raise ContractError(
                f"text: {length} tokens, but this CLIP's context holds {limit}; shorten {text[:60]!r}..."
            )
        vocabulary = getattr(self.model, "vocab_size", None)
        if vocabulary is not None and int(tokens.max()) >= vocabulary:
            raise ContractError(
                f"CLIP: the tokenizer gives token {int(tokens.max())}, the text tower knows {vocabulary}; "
                "the folder's open_clip_config.json names another tokenizer than that of training"
            )
        return tokens[:, :limit]


def _read_embedding(path: Path) -> Tensor | None:
    """Returns the cached embedding (D,); None where there is none, or a damaged one, to be made again."""
    if not path.is_file():
        return None
    try:
        embedding = read_tensors(path, "")[0].get("embedding")
    except ContractError:
        return None
    whole = embedding is not None and embedding.dim() == 1 and bool(embedding.isfinite().all())
    return embedding if whole else None


def _early_features(visual: Any, prepared_n3hw: Tensor) -> list[Tensor]:
    open_clip = import_open_clip()
    if isinstance(visual, open_clip.modified_resnet.ModifiedResNet):
        stem = visual.stem(prepared_n3hw)
        return [stem, visual.layer1(stem)]
    if not hasattr(visual, "forward_intermediates"):
        raise ContractError(
            f"CLIP: expected an image tower with layers to look into, got {type(visual).__name__}"
        )
    first: list[Tensor] = []
    blocks = EARLY_BLOCKS
    if isinstance(visual, open_clip.transformer.VisionTransformer):
        first, blocks = [visual.conv1(prepared_n3hw)], min(EARLY_BLOCKS, len(visual.transformer.resblocks))
    outputs = visual.forward_intermediates(
        prepared_n3hw, indices=list(range(blocks)), stop_early=True, intermediates_only=True
    )
    return first + list(outputs["image_intermediates"])


def _identity(model: Any, description: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(description, sort_keys=True, default=str).encode())
    digest.update(json.dumps(model.visual.preprocess_cfg, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


class _GradientScale(torch.autograd.Function):
    """The identity; its gradient is multiplied."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.factor, None


def _scale_gradient(values: Tensor, factor: float) -> Tensor:
    scaled: Tensor = _GradientScale.apply(values, factor)
    return scaled
