"""The teacher's objective: language over whole pictures and patches, regularisation, perceptual term."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from irvis_runtime.errors import ContractError

from .clip import ClipTowers
from .language import language_loss, patch_entropy, regularisation
from .patches import PatchRanges, random_patches, target_salience
from .perceptual import VGG19_FILE, Features, Vgg19Features, load_vgg19, perceptual_loss

TERMS = ("global", "patch", "regularisation", "perceptual")


@dataclass(frozen=True)
class ObjectiveConfig:
    """What fusion is asked for; texts, weights and ranges are the published ones unless told otherwise."""

    texts_fused: tuple[str, ...] = field(
        default=("a clear image with detailed background and salient objects",),
        metadata={"doc": "what the fused picture shall be; one text or several"},
    )
    text_visible: str = field(default="a visible gray image", metadata={"doc": "what the visible picture is"})
    text_infrared: str = field(default="an infrared image", metadata={"doc": "what the infrared picture is"})
    text_choice: Literal["average", "sample"] = field(
        default="average",
        metadata={"doc": "several texts: their mean embedding, or one of them drawn for every step"},
    )
    global_weight: float = field(default=2.0, metadata={"doc": "of the language loss of whole pictures"})
    patch_weight: float = field(default=10.0, metadata={"doc": "of the language loss of patches"})
    regularisation_weight: float = field(
        default=6.0, metadata={"doc": "of the angles between fused picture and sources"}
    )
    perceptual_weight: float = field(default=10.0, metadata={"doc": "of the perceptual term"})
    patches: int = field(default=32, metadata={"doc": "patches of every picture"})
    patch_min_entropy_bits: float = field(
        default=6.0,
        metadata={"doc": "patches count where both sources have more entropy than this; 0: no filter"},
    )
    patch_min_share: float = field(default=0.5, metadata={"doc": "smallest crop, share of the shorter side"})
    patch_max_share: float = field(default=0.8, metadata={"doc": "largest crop, share of the shorter side"})
    salient_share: float = field(
        default=0.0, metadata={"doc": "share of the patches that are centred on hot targets"}
    )
    perceptual_features: Literal["clip", "vgg19"] = field(
        default="clip",
        metadata={"doc": "whose: the CLIP's early layers (relative errors), or VGG-19, as published"},
    )
    vgg19_weights: str = field(
        default=f"runs/{VGG19_FILE}", metadata={"doc": "torchvision's VGG-19 weights, .pth or .safetensors"}
    )

    def __post_init__(self) -> None:
        """ContractError for values that would fail or mislead later."""
        weights = {f"{term}_weight": getattr(self, f"{term}_weight") for term in TERMS}
        for name, weight in weights.items():
            if weight < 0:
                raise ContractError(f"{name}: expected 0 or more, got {weight}")
        if not any(weights.values()):
            raise ContractError(f"{', '.join(weights)}: expected one of them above 0, got 0 for all")
        if not self.texts_fused or {self.text_visible, self.text_infrared} & set(self.texts_fused):
            raise ContractError(
                "texts_fused: expected texts that differ from text_visible and text_infrared, "
                f"got {list(self.texts_fused)}"
            )
        if self.patches < 1:
            raise ContractError(f"patches: expected 1 or more, got {self.patches}; patch_weight=0 for none")
        if not 0.0 <= self.patch_min_entropy_bits < 8.0:
            raise ContractError(
                f"patch_min_entropy_bits: expected 0 to less than 8, got {self.patch_min_entropy_bits}"
            )
        if not 0.0 < self.patch_min_share <= self.patch_max_share <= 1.0:
            raise ContractError(
                "patch_min_share, patch_max_share: expected 0 < min <= max <= 1, "
                f"got {self.patch_min_share}, {self.patch_max_share}"
            )
        if not 0.0 <= self.salient_share <= 1.0:
            raise ContractError(f"salient_share: expected a share from 0 to 1, got {self.salient_share}")


class LanguageObjective(nn.Module):
    """What a fused picture lacks, in one number that has gradients.

    global_weight L_lang(whole) + patch_weight L_lang(patches) + regularisation_weight L_reg +
    perceptual_weight L_perceptual: arXiv:2402.16267 and its extension, doi:10.1109/TNNLS.2026.3688448.
    Nothing in it is trained; a task's checkpoint need not hold it.
    """

    _texts_fused: Tensor
    _text_visible: Tensor
    _text_infrared: Tensor

    def __init__(self, clip: ClipTowers, config: ObjectiveConfig) -> None:
        """Encodes the texts, and loads VGG-19 where the configuration asks for it."""
        super().__init__()
        self.clip = clip
        self.config = config
        self._ranges = PatchRanges(config.patch_min_share, config.patch_max_share)
        texts_fused = F.normalize(clip.encode_texts(config.texts_fused), dim=-1)
        if config.text_choice == "average":
            texts_fused = texts_fused.mean(dim=0, keepdim=True)
        visible, infrared = clip.encode_texts([config.text_visible, config.text_infrared])
        texts = {"_texts_fused": texts_fused, "_text_visible": visible, "_text_infrared": infrared}
        for name, embedding in texts.items():
            self.register_buffer(name, embedding, persistent=False)
        self._vgg19: Vgg19Features | None = None
        if config.perceptual_features == "vgg19" and config.perceptual_weight:
            self._vgg19 = load_vgg19(Path(config.vgg19_weights)).to(visible.device)

    def forward(
        self, fused_n1hw: Tensor, infrared_n1hw: Tensor, visible_n1hw: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the weighted sum and, by name, its parts: without their weights, detached.

        Pictures are (N, 1, H, W) in [0, 1], aligned; gradients reach `fused_n1hw`. `kept` among the parts is
        the share of patches that passed the filter. The generator decides text and patches, on its own
        device: equal ones give equal losses.
        """
        if not fused_n1hw.shape == infrared_n1hw.shape == visible_n1hw.shape:
            shapes = [tuple(picture.shape) for picture in (fused_n1hw, infrared_n1hw, visible_n1hw)]
            raise ContractError(f"fused, infrared, visible: expected pictures of one size, got {shapes}")
        config = self.config
        text = self._drawn_text(generator)
        with torch.no_grad():
            visible = self.clip.encode_pictures(visible_n1hw)
            infrared = self.clip.encode_pictures(infrared_n1hw)
        parts: dict[str, Tensor] = {}
        if config.global_weight or config.regularisation_weight:
            fused = self.clip.encode_pictures(fused_n1hw)
            parts["global"] = self._language(fused, visible, infrared, text)
            parts["regularisation"] = regularisation(fused, visible, infrared)
        if config.patch_weight:
            patches, keep = self._patches(fused_n1hw, infrared_n1hw, visible_n1hw, generator)
            parts["patch"] = self._patch_loss(patches, keep, visible, infrared, text)
            parts["kept"] = keep.float().mean()
        if config.perceptual_weight:
            parts["perceptual"] = self._perceptual(fused_n1hw, infrared_n1hw, visible_n1hw)
        weighted = [getattr(config, f"{name}_weight") * parts[name] for name in TERMS if name in parts]
        return torch.stack(weighted).sum(), {name: part.detach() for name, part in parts.items()}

    def _drawn_text(self, generator: torch.Generator) -> Tensor:
        """The objective's embedding (D,): the mean of several, or one of them."""
        count = len(self._texts_fused)
        if count == 1:
            return self._texts_fused[0]
        return self._texts_fused[int(torch.randint(count, (), generator=generator, device=generator.device))]

    def _language(self, fused: Tensor, visible: Tensor, infrared: Tensor, text: Tensor) -> Tensor:
        return language_loss(fused, visible, infrared, text, self._text_visible, self._text_infrared)

    def _patches(
        self, fused_n1hw: Tensor, infrared_n1hw: Tensor, visible_n1hw: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Fused patches (patches * N, 1, S, S), crop-major, and which of them count, (patches * N,)."""
        config = self.config
        fused, infrared, visible = random_patches(
            (fused_n1hw, infrared_n1hw, visible_n1hw),
            config.patches,
            self.clip.picture_px,
            generator,
            self._ranges,
            target_salience(infrared_n1hw) if config.salient_share else None,
            config.salient_share,
        )
        if not config.patch_min_entropy_bits:
            return fused, torch.ones(len(fused), dtype=torch.bool, device=fused.device)
        entropy_bits = torch.minimum(patch_entropy(visible), patch_entropy(infrared))
        return fused, entropy_bits > config.patch_min_entropy_bits

    def _patch_loss(
        self, patches: Tensor, keep: Tensor, visible: Tensor, infrared: Tensor, text: Tensor
    ) -> Tensor:
        """As language_loss with `keep`, but rejected patches are not even encoded."""
        rows = keep.nonzero()[:, 0]
        if not len(rows):
            return patches.sum() * 0.0
        owners = rows % len(visible)
        loss = self._language(
            self.clip.encode_pictures(patches[rows]), visible[owners], infrared[owners], text
        )
        return loss * (len(rows) / len(keep))

    def _perceptual(self, fused_n1hw: Tensor, infrared_n1hw: Tensor, visible_n1hw: Tensor) -> Tensor:
        features: Features = self._vgg19 or self.clip.early_features
        return perceptual_loss(features, fused_n1hw, visible_n1hw, infrared_n1hw, relative=not self._vgg19)
