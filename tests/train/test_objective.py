from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from irvis_runtime.config import from_mapping, load_config, to_mapping
from irvis_runtime.errors import ContractError
from irvis_train.clip import ClipTowers
from irvis_train.language import language_loss, patch_entropy, regularisation
from irvis_train.objective import LanguageObjective, ObjectiveConfig
from irvis_train.patches import random_patches
from irvis_train.perceptual import VGG19_PLAN, perceptual_loss

MODEL: dict[str, Any] = {
    "embed_dim": 12,
    "vision_cfg": {
        "image_size": 32,
        "layers": [1, 1, 1, 1],
        "width": 4,
        "head_width": 16,
        "patch_size": None,
    },
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}
TEXTS = ("bright objects", "detailed background")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ClipTowers:
    torch.manual_seed(1)
    model = open_clip.model.CLIP(**MODEL)
    open_clip.model.set_model_preprocess_cfg(model, {"size": 32, "mean": [0.5] * 3, "std": [0.25] * 3})
    tokenizer = open_clip.SimpleTokenizer(context_length=16)
    return ClipTowers(model, tokenizer, "tiny", tmp_path_factory.mktemp("texts"), torch.float32)


@pytest.fixture
def pictures() -> tuple[Tensor, Tensor, Tensor]:
    """Fused, infrared, visible: two of each, of which the second infrared one is flat on its right."""
    fused, infrared, visible = torch.rand(3, 2, 1, 48, 48, generator=seeded())
    infrared[1, :, :, 20:] = 0.4
    return fused, infrared, visible


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def objective(clip: ClipTowers, **changes: Any) -> LanguageObjective:
    return LanguageObjective(clip, ObjectiveConfig(**({"patches": 6} | changes)))


def test_the_total_is_made_of_the_published_terms(
    clip: ClipTowers, pictures: tuple[Tensor, Tensor, Tensor]
) -> None:
    fused, infrared, visible = pictures
    whole = objective(clip, patch_min_entropy_bits=7.0)
    total, parts = whole(fused, infrared, visible, seeded())
    row_fused, *rows = (clip.encode_pictures(picture) for picture in (fused, visible, infrared))
    sources, config = (rows[0], rows[1]), whole.config
    wanted, *given = clip.encode_texts([*config.texts_fused, config.text_visible, config.text_infrared])
    texts = (wanted, given[0], given[1])
    cuts = random_patches((fused, visible, infrared), 6, 32, seeded())
    keep = torch.minimum(patch_entropy(cuts[1]), patch_entropy(cuts[2])) > 7.0
    # Of both kinds, or the filter is not tested.
    assert 0 < int(keep.sum()) < 12
    expected = {
        "global": language_loss(row_fused, *sources, *texts),
        "patch": language_loss(clip.encode_pictures(cuts[0]), *sources, *texts, keep=keep),
        "regularisation": regularisation(row_fused, *sources),
        "perceptual": perceptual_loss(clip.early_features, fused, visible, infrared, relative=True),
        "kept": keep.float().mean(),
    }
    assert parts.keys() == expected.keys()
    for name, value in expected.items():
        assert float(parts[name]) == pytest.approx(float(value), rel=1e-4, abs=1e-6)
    weighted = 2 * parts["global"] + 10 * parts["patch"] + 6 * parts["regularisation"]
    assert float(total) == pytest.approx(float(weighted + 10 * parts["perceptual"]), rel=1e-5)


def test_equal_generators_give_equal_losses(
    clip: ClipTowers, pictures: tuple[Tensor, Tensor, Tensor]
) -> None:
    whole = objective(clip, texts_fused=TEXTS, text_choice="sample", salient_share=0.5)
    once, again, other = (whole(*pictures, seeded(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_several_texts_are_averaged_or_drawn(
    clip: ClipTowers, pictures: tuple[Tensor, Tensor, Tensor]
) -> None:
    only = {"patch_weight": 0.0, "regularisation_weight": 0.0, "perceptual_weight": 0.0}

    def losses(texts: tuple[str, ...], choice: str) -> set[float]:
        whole = objective(clip, texts_fused=texts, text_choice=choice, **only)
        return {round(float(whole(*pictures, seeded(seed))[0]), 5) for seed in range(12)}

    singles = [losses((text,), "average") for text in TEXTS]
    assert all(len(single) == 1 for single in singles)
    assert losses(TEXTS, "sample") == singles[0] | singles[1]
    average = losses(TEXTS, "average")
    assert len(average) == 1
    assert not average & (singles[0] | singles[1])
    config = ObjectiveConfig()
    fused, infrared, visible = pictures
    mean = F.normalize(clip.encode_texts(TEXTS), dim=-1).mean(dim=0)
    of_visible, of_infrared = clip.encode_texts([config.text_visible, config.text_infrared])
    encoded = [clip.encode_pictures(picture) for picture in (fused, visible, infrared)]
    expected = 2 * float(language_loss(encoded[0], encoded[1], encoded[2], mean, of_visible, of_infrared))
    assert average.pop() == pytest.approx(expected, abs=1e-4)


def test_what_weighs_nothing_is_left_out(clip: ClipTowers, pictures: tuple[Tensor, Tensor, Tensor]) -> None:
    _, parts = objective(clip, perceptual_weight=0.0)(*pictures, seeded())
    assert parts.keys() == {"global", "regularisation", "patch", "kept"}
    _, parts = objective(clip, patch_weight=0.0, global_weight=0.0, regularisation_weight=0.0)(
        *pictures, seeded()
    )
    assert parts.keys() == {"perceptual"}


def test_no_patch_that_passes_the_filter_is_no_loss(clip: ClipTowers) -> None:
    flat = torch.full((1, 1, 40, 40), 0.5)
    fused = torch.rand(1, 1, 40, 40, requires_grad=True)
    rest = {"global_weight": 0.0, "regularisation_weight": 0.0, "perceptual_weight": 0.0}
    total, parts = objective(clip, **rest)(fused, flat, flat, seeded())
    (gradient,) = torch.autograd.grad(total, fused)
    assert float(total.detach()) == float(parts["kept"]) == float(gradient.abs().sum()) == 0.0
    _, parts = objective(clip, patch_min_entropy_bits=0.0)(fused, flat, flat, seeded())
    assert float(parts["kept"]) == 1.0


def test_a_picture_can_be_moved_to_please_it(
    clip: ClipTowers, pictures: tuple[Tensor, Tensor, Tensor]
) -> None:
    _, infrared, visible = pictures
    fused = ((infrared + visible) / 2).requires_grad_()
    whole = objective(clip, salient_share=0.5)
    optimizer = torch.optim.Adam([fused], lr=0.02)
    totals = []
    for _ in range(12):
        total, _ = whole(fused.clamp(0, 1), infrared, visible, seeded())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
    assert totals[-1] < 0.9 * totals[0]


def test_vgg19_is_taken_where_its_weights_are(
    clip: ClipTowers, pictures: tuple[Tensor, Tensor, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "vgg19.pth"
    asked = {"perceptual_features": "vgg19", "vgg19_weights": str(path), "patch_weight": 0.0}
    with pytest.raises(ContractError, match=r"vgg19\.pth: expected .* there is no such file; run `curl"):
        objective(clip, **asked)
    # Nothing is asked of what weighs nothing.
    objective(clip, **asked, perceptual_weight=0.0)
    tensors, channels, number = {}, 3, 0
    for width in VGG19_PLAN:
        if width:
            tensors[f"features.{number}.weight"] = torch.randn(width, channels, 3, 3) / (3 * channels**0.5)
            tensors[f"features.{number}.bias"] = torch.zeros(width)
            channels = width
        number += 2 if width else 1
    torch.save(tensors, path)
    whole = objective(clip, **asked)
    _, parts = whole(*pictures, seeded())
    assert float(parts["perceptual"]) > 0.0
    same = pictures[1]
    assert float(whole(same, same, same, seeded())[1]["perceptual"]) == 0.0


def test_nothing_in_it_is_trained_and_it_needs_no_place_in_a_checkpoint_of_its_own(clip: ClipTowers) -> None:
    whole = objective(clip)
    assert not any(parameter.requires_grad for parameter in whole.parameters())
    assert all(name.startswith("clip.") for name in whole.state_dict())


def test_pictures_of_different_size_are_refused(clip: ClipTowers) -> None:
    small, large = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 40, 32)
    with pytest.raises(ContractError, match="expected pictures of one size"):
        objective(clip)(small, large, small, seeded())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"global_weight": -1.0}, "global_weight: expected 0 or more, got -1.0"),
        ({"texts_fused": ()}, "texts_fused: expected texts that differ"),
        ({"texts_fused": ("an infrared image",)}, "texts_fused: expected texts that differ"),
        ({"patches": 0}, "patches: expected 1 or more, got 0"),
        ({"patch_min_entropy_bits": 8.0}, "patch_min_entropy_bits: expected 0 to less than 8, got 8.0"),
        ({"patch_min_share": 0.9}, "expected 0 < min <= max <= 1, got 0.9, 0.8"),
        ({"salient_share": 1.5}, "salient_share: expected a share from 0 to 1, got 1.5"),
    ],
)
def test_a_wrong_configuration_is_named(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ContractError, match=expected.replace("(", r"\(")):
        ObjectiveConfig(**changes)


def test_all_weights_zero_is_refused() -> None:
    weights = dict.fromkeys(
        ("global_weight", "patch_weight", "regularisation_weight", "perceptual_weight"), 0.0
    )
    with pytest.raises(ContractError, match="expected one of them above 0, got 0 for all"):
        ObjectiveConfig(**weights)  # type: ignore[arg-type]


def test_it_is_configured_by_toml_and_arguments(tmp_path: Path) -> None:
    path = tmp_path / "objective.toml"
    path.write_text('texts_fused = ["bright objects", "detailed background"]\ntext_choice = "sample"\n')
    config = load_config(ObjectiveConfig, path, ["patch_weight=5"])
    assert config == ObjectiveConfig(texts_fused=TEXTS, text_choice="sample", patch_weight=5.0)
    assert from_mapping(ObjectiveConfig, to_mapping(config), "again") == config
    with pytest.raises(ContractError, match="unknown key 'texts_fuesd'; did you mean 'texts_fused'"):
        load_config(ObjectiveConfig, path, ["texts_fuesd=x"])
    with pytest.raises(ContractError, match="text_choice: expected one of 'average', 'sample', got 'all'"):
        load_config(ObjectiveConfig, path, ["text_choice=all"])
