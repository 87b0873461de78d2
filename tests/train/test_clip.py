from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor, nn

from irvis_runtime.errors import ContractError
from irvis_train.clip import ClipConfig, ClipTowers, load_clip
from irvis_train.clip_files import CONFIG_NAME, WEIGHTS_NAME
from irvis_train.tensor_files import read_tensors, write_tensors

vision: Any = pytest.importorskip("torchvision.transforms.v2.functional")
CPU = torch.device("cpu")
TEXT: dict[str, Any] = {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1}
VIT: dict[str, Any] = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": TEXT,
}
RESNET: dict[str, Any] = {
    "embed_dim": 12,
    "vision_cfg": {
        "image_size": 64,
        "layers": [1, 1, 1, 1],
        "width": 4,
        "head_width": 16,
        "patch_size": None,
    },
    "text_cfg": TEXT,
}
PREPROCESS = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}


def write_folder(folder: Path, model: dict[str, Any], seed: int = 1) -> Path:
    """A folder as open_clip's `local-dir:` and `irvis train clip` have it, with random weights."""
    torch.manual_seed(seed)
    network = open_clip.model.CLIP(**model)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            # A residual branch begins as zero; a trained one is none.
            nn.init.uniform_(module.weight, 0.5, 1.5)
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / WEIGHTS_NAME, network.state_dict(), {"format": "pt"})
    (folder / CONFIG_NAME).write_text(json.dumps({"model_cfg": model, "preprocess_cfg": PREPROCESS}))
    return folder


def configured(folder: Path, **changes: str) -> ClipConfig:
    return ClipConfig(**{"pretrained": str(folder), "cache": str(folder.parent / "cache")} | changes)


def towers(folder: Path, dtype: torch.dtype = torch.float32) -> ClipTowers:
    model = open_clip.create_model(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    return ClipTowers(model, tokenizer, "test", folder.parent / "cache", dtype)


@pytest.fixture(params=[VIT, RESNET], ids=["vit", "resnet"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write_folder(tmp_path / "clip", request.param)


@pytest.fixture
def vit(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "clip", VIT)


def test_embeddings_are_those_of_open_clip(folder: Path) -> None:
    clip = load_clip(configured(folder), CPU)
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    pictures = torch.rand(2, 1, clip.picture_px, clip.picture_px)
    mean, std = (torch.tensor(PREPROCESS[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    texts = ["a clear image", "an infrared image"]
    with torch.no_grad():
        expected = model.encode_image((pictures.repeat(1, 3, 1, 1) - mean) / std)
        assert torch.allclose(clip.encode_pictures(pictures), expected, atol=1e-5)
        tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(texts)
        assert torch.allclose(clip.encode_texts(texts), model.encode_text(tokens), atol=1e-5)


def test_pictures_of_other_sizes_are_resized_bilinearly(vit: Path) -> None:
    clip = load_clip(configured(vit), CPU)
    for size_hw in ((90, 70), (20, 31)):
        picture = torch.rand(1, 1, *size_hw)
        resized = vision.resize(picture, [32, 32], antialias=True)
        assert torch.allclose(clip.encode_pictures(picture), clip.encode_pictures(resized), atol=1e-5)
    with pytest.raises(ContractError, match=r"expected \(N, 1, H, W\), got \(1, 3, 32, 32\)"):
        clip.encode_pictures(torch.zeros(1, 3, 32, 32))


def test_gradients_reach_pictures_and_never_weights(folder: Path) -> None:
    clip = load_clip(configured(folder), CPU)
    holder = nn.Sequential(clip).train()
    assert holder.training
    assert not any(module.training for module in clip.modules())
    picture = torch.rand(1, 1, 48, 48, requires_grad=True)
    for output in (clip.encode_pictures(picture), *clip.early_features(picture)):
        (gradient,) = torch.autograd.grad(output.square().sum(), picture, retain_graph=True)
        assert float(gradient.abs().max()) > 0.0
    assert not any(parameter.requires_grad for parameter in clip.parameters())


def test_early_features_lie_on_a_grid(tmp_path: Path) -> None:
    picture = torch.rand(2, 1, 40, 40)
    vit = load_clip(configured(write_folder(tmp_path / "v", VIT)), CPU).early_features(picture)
    assert [tuple(feature.shape) for feature in vit] == [(2, 16, 4, 4)] * 3
    shallow = VIT | {"vision_cfg": VIT["vision_cfg"] | {"layers": 1}}
    assert len(load_clip(configured(write_folder(tmp_path / "s", shallow)), CPU).early_features(picture)) == 2
    resnet = load_clip(configured(write_folder(tmp_path / "r", RESNET)), CPU).early_features(picture)
    assert [tuple(feature.shape) for feature in resnet] == [(2, 4, 16, 16), (2, 16, 16, 16)]


def test_a_timm_tower_has_early_features_too(tmp_path: Path) -> None:
    vision_cfg = {
        "image_size": 64,
        "timm_model_name": "test_resnet",
        "timm_pool": "avg",
        "timm_proj": "linear",
    }
    clip = load_clip(configured(write_folder(tmp_path / "t", VIT | {"vision_cfg": vision_cfg})), CPU)
    picture = torch.rand(1, 1, 64, 64, requires_grad=True)
    features = clip.early_features(picture)
    assert len(features) == 2
    assert all(feature.dim() == 4 for feature in features)
    assert clip.encode_pictures(picture).shape == (1, 12)


def test_identity_follows_weights_and_configuration(tmp_path: Path) -> None:
    first = load_clip(configured(write_folder(tmp_path / "a", VIT)), CPU).identity
    assert load_clip(configured(write_folder(tmp_path / "b", VIT)), CPU).identity == first
    others = [
        write_folder(tmp_path / "c", VIT, seed=2),
        write_folder(tmp_path / "d", VIT | {"quick_gelu": True}),
    ]
    assert len({first, *(load_clip(configured(other), CPU).identity for other in others)}) == 3


def test_texts_are_cached_until_the_file_is_damaged(vit: Path) -> None:
    clip, cache = load_clip(configured(vit), CPU), vit.parent / "cache"
    made = clip.encode_texts(["a clear image", "an infrared image"])
    files = sorted(cache.iterdir())
    assert len(files) == 2
    # What the cache says is believed: nothing is computed again.
    marked = torch.full((12,), 7.0)
    for file in files:
        write_tensors(file, {"embedding": marked}, {})
    again = load_clip(configured(vit), CPU)
    assert torch.equal(again.encode_texts(["a clear image"])[0], marked)
    contents = [b"", b"broken", files[0].read_bytes()[:-3]]
    for tensors in ({"embedding": marked * torch.nan}, {"embedding": marked[None]}, {"other": marked}):
        write_tensors(files[0], tensors, {})
        contents.append(files[0].read_bytes())
    for content in contents:
        for file in files:
            file.write_bytes(content)
        assert torch.equal(clip.encode_texts(["a clear image", "an infrared image"]), made)
        assert read_tensors(files[0], "")[0]["embedding"].shape == (12,)
    # Another CLIP's texts are others, in the same folder.
    other = load_clip(configured(write_folder(vit.parent / "other", VIT, seed=2)), CPU)
    assert not torch.allclose(other.encode_texts(["a clear image"])[0], made[0])


def test_texts_that_are_empty_or_too_long_are_named(vit: Path) -> None:
    clip = load_clip(configured(vit), CPU)
    # Start, end and fourteen words fill a context of sixteen.
    assert clip.encode_texts(["image " * 14]).shape == (1, 12)
    with pytest.raises(ContractError, match=r"17 tokens, but this CLIP's context holds 16; shorten 'image"):
        clip.encode_texts(["image " * 15])
    with pytest.raises(ContractError, match="expected a caption, got '  '"):
        clip.encode_texts(["a clear image", "  "])
    with pytest.raises(ContractError, match="expected at least one, got none"):
        clip.encode_texts([])


def test_a_text_tower_without_the_tokenizers_words_is_named(tmp_path: Path) -> None:
    small = VIT | {"text_cfg": TEXT | {"vocab_size": 1000}}
    clip = load_clip(configured(write_folder(tmp_path / "clip", small)), CPU)
    with pytest.raises(ContractError, match="the text tower knows 1000"):
        clip.encode_texts(["a clear image"])


def similarity(a: Tensor, b: Tensor) -> float:
    return float(nn.functional.cosine_similarity(a.detach().flatten(), b.detach().flatten(), dim=0))


def test_half_precision_keeps_embeddings_and_small_gradients(folder: Path) -> None:
    full, half = towers(folder), towers(folder, torch.float16)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float16}
    picture = torch.rand(2, 1, 40, 40, requires_grad=True)
    direction, gradients = torch.randn(12), []
    for clip in (full, half):
        embedding = clip.encode_pictures(picture)
        assert embedding.dtype == torch.float32
        # As one patch of a thousand in a mean.
        loss = (nn.functional.normalize(embedding, dim=-1) @ direction).mean() / 1000.0
        gradients.append(torch.autograd.grad(loss, picture)[0])
    assert float(gradients[0].abs().max()) < 2e-4
    assert similarity(full.encode_pictures(picture), half.encode_pictures(picture)) > 0.9999
    assert similarity(*gradients) > 0.99
    assert float(gradients[1].norm() / gradients[0].norm()) == pytest.approx(1.0, abs=0.05)
    assert similarity(full.encode_texts(["an image"]), half.encode_texts(["an image"])) > 0.9999


def test_a_callers_autocast_does_not_reach_the_towers(folder: Path) -> None:
    clip = load_clip(configured(folder), CPU)
    picture = torch.rand(1, 1, 40, 40)
    with torch.autocast("cpu", torch.bfloat16):
        lower = clip.encode_pictures(picture)
    assert torch.equal(lower, clip.encode_pictures(picture))


@pytest.mark.gpu
def test_on_cuda_the_towers_are_half(folder: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    clip = load_clip(configured(folder), torch.device("cuda"))
    assert {parameter.dtype for parameter in clip.parameters()} == {torch.float16}
    picture = torch.rand(2, 1, 40, 40)
    expected = load_clip(configured(folder), CPU).encode_pictures(picture)
    assert similarity(clip.encode_pictures(picture.cuda()).cpu(), expected) > 0.999
    assert clip.encode_texts(["an image"]).device.type == "cuda"


def test_a_tower_for_oblong_pictures_is_refused(tmp_path: Path) -> None:
    oblong = VIT | {"vision_cfg": VIT["vision_cfg"] | {"image_size": [32, 64]}}
    with pytest.raises(ContractError, match=r"expected a tower for square pictures, got \[32, 64\]"):
        load_clip(configured(write_folder(tmp_path / "clip", oblong)), CPU)
