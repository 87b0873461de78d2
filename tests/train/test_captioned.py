from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from irvis_runtime.errors import ContractError
from irvis_runtime.image import write_picture
from irvis_runtime.pairs import find_dataset_pairs, read_pair
from irvis_train.captioned import (
    CaptionedMaker,
    Crop,
    Scene,
    cut,
    is_telling,
    make_scenes,
    random_window,
    render,
)
from irvis_train.captions import MEANINGS, Meaning, rephrased_captions, unseen_captions
from irvis_train.data import LabelledPair, as_tensor, make_contexts
from irvis_train.hot_targets import background_gradient, target_contrast

SIDE_PX = 64
HEIGHT_WIDTH = (96, 112)


def write_scenes(folder: Path, count: int, seed: int) -> None:
    """Pairs with texture in the visible picture and two warm squares in the infrared one."""
    for number in range(seed, seed + count):
        random = np.random.default_rng(number)
        visible = cv2.GaussianBlur(random.uniform(0, 255, HEIGHT_WIDTH).astype(np.float32), (0, 0), 1.5)
        visible = visible + 6.0 * (cv2.GaussianBlur(visible, (0, 0), 8) - 128.0)
        infrared = 70.0 + 0.2 * (visible - visible.mean())
        for _ in range(2):
            top, left = random.integers(10, 70, size=2)
            infrared[top : top + 18, left : left + 14] = 220.0
        for sensor, picture in (("ir", infrared), ("vis", visible)):
            write_picture(folder / sensor / f"{number}.png", picture.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledPair]:
    """Six scenes; the fused picture is the visible one with infrared's targets on top."""
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder / "day", 6, seed=3)
    labelled = []
    for pair in find_dataset_pairs(folder):
        infrared, visible = read_pair(pair)
        fused = np.maximum(visible, infrared * 0.6 + visible * 0.4) / 255.0
        context = make_contexts(as_tensor(infrared), as_tensor(visible))[0]
        labelled.append(LabelledPair(pair.name, infrared, visible, fused.astype(np.float16), context))
    return labelled


@pytest.fixture(scope="module")
def scenes(pairs: Sequence[LabelledPair]) -> list[Scene]:
    return make_scenes(pairs)


@pytest.fixture(scope="module")
def maker(scenes: Sequence[Scene]) -> CaptionedMaker:
    return CaptionedMaker(scenes, SIDE_PX, seed=1)


def test_a_group_holds_every_meaning_once(maker: CaptionedMaker) -> None:
    batch = maker.batch(3, groups=2)
    assert batch.pictures.shape == (2 * len(MEANINGS), 1, SIDE_PX, SIDE_PX)
    assert batch.pictures.dtype == torch.float32
    assert 0.0 <= float(batch.pictures.min()) <= float(batch.pictures.max()) <= 1.0
    for group in range(2):
        captions = batch.captions[group * len(MEANINGS) : (group + 1) * len(MEANINGS)]
        assert len(set(captions)) == len(MEANINGS)
        for caption, meaning in zip(captions, MEANINGS, strict=True):
            assert caption not in (*unseen_captions(meaning), *rephrased_captions(meaning))
            assert any(word in caption for word in ("image", "picture", "photo", "frame"))


def test_a_batch_is_a_function_of_seed_and_step(maker: CaptionedMaker, scenes: Sequence[Scene]) -> None:
    batch = maker.batch(3, groups=1)
    again = CaptionedMaker(scenes, SIDE_PX, seed=1).batch(3, groups=1)
    assert torch.equal(batch.pictures, again.pictures)
    assert batch.captions == again.captions
    assert not torch.equal(batch.pictures, maker.batch(4, groups=1).pictures)
    other = CaptionedMaker(scenes, SIDE_PX, seed=2).batch(3, groups=1)
    assert not torch.equal(batch.pictures, other.pictures)


@pytest.mark.parametrize("meaning", MEANINGS, ids=lambda meaning: meaning.name)
def test_a_crop_becomes_what_its_caption_says(maker: CaptionedMaker, meaning: Meaning) -> None:
    crop = maker.crop(np.random.default_rng(5))
    before = [plane.clone() for plane in crop.planes]
    found = render(crop, meaning, 0.9, np.random.default_rng(8))
    assert found.shape == (1, 1, SIDE_PX, SIDE_PX)
    assert all(torch.equal(a, b) for a, b in zip(crop.planes, before, strict=True))
    if meaning == Meaning("visible"):
        assert torch.equal(found, crop.visible)
    elif meaning == Meaning("infrared"):
        assert torch.equal(found, crop.infrared)
    elif meaning.quality != "clean":
        plane = {"visible": crop.visible, "infrared": crop.infrared, "fused": crop.fused}[meaning.modality]
        assert float((found - plane).abs().mean()) > 0.01


def levels_of(crop: Crop, meaning: Meaning) -> tuple[float, float]:
    """Background gradient and target contrast, mean over draws, of which some are the picture as it comes."""
    mask = crop.mask > 0.5
    pictures = torch.cat([render(crop, meaning, 0.9, np.random.default_rng(seed)) for seed in range(20)])
    masks = mask.expand(len(pictures), -1, -1, -1)
    return (
        float(background_gradient(pictures, masks).mean()),
        float(target_contrast(pictures, masks).mean()),
    )


def test_the_two_axes_are_ordered_and_apart(maker: CaptionedMaker) -> None:
    crop = maker.crop(np.random.default_rng(5))
    smooth, detailed = (levels_of(crop, Meaning("fused", "clean", name)) for name in ("smooth", "detailed"))
    dull, bright = (levels_of(crop, Meaning("fused", "clean", targets=name)) for name in ("dull", "bright"))
    plain = levels_of(crop, Meaning("fused"))
    assert smooth[0] < 0.8 * plain[0] < 0.8 * detailed[0]
    assert dull[1] < plain[1] < bright[1]
    assert bright[1] - dull[1] > 25.0
    assert abs(bright[0] - dull[0]) < 0.25 * abs(detailed[0] - smooth[0]) + 1.0


@pytest.mark.parametrize("seed", range(8))
def test_windows_lie_in_the_picture_and_mostly_hold_a_target(scenes: Sequence[Scene], seed: int) -> None:
    random = np.random.default_rng(seed)
    held = []
    for scene in scenes:
        rows, columns = random_window(scene, SIDE_PX, random)
        height, width = scene.visible_hw.shape
        assert 0 <= rows.start < rows.stop <= height
        assert 0 <= columns.start < columns.stop <= width
        assert rows.stop - rows.start >= 0.6 * SIDE_PX
        crop = cut(scene, (rows, columns), SIDE_PX, random)
        assert all(plane.shape == (1, 1, SIDE_PX, SIDE_PX) for plane in crop.planes)
        held.append(bool((crop.mask > 0.2).any()) or not len(scene.places_p2))
    assert np.mean(held) >= 0.5


def test_crops_of_batches_are_telling(maker: CaptionedMaker) -> None:
    assert all(is_telling(maker.crop(np.random.default_rng(seed))) for seed in range(10))


def test_pairs_without_targets_are_refused(pairs: Sequence[LabelledPair]) -> None:
    flat = [
        LabelledPair(
            pair.name, np.full_like(pair.infrared_hw, 90), pair.visible_hw, pair.target_hw, pair.context_2hw
        )
        for pair in pairs
    ]
    with pytest.raises(ContractError, match=r"expected hot targets, found none in 300 windows of 6 pairs"):
        CaptionedMaker(make_scenes(flat), SIDE_PX, seed=1).batch(0, 1)


def test_published_fused_pictures_join_their_pairs(pairs: Sequence[LabelledPair], tmp_path: Path) -> None:
    first, second = pairs[0], pairs[1]
    size = first.visible_hw.shape
    write_picture(tmp_path / f"{first.name}.png", np.full(size, 51, np.uint8))
    # Twice the size: as before the pairs were reduced.
    write_picture(
        tmp_path / f"{second.name.rpartition('/')[2]}.jpg", np.full((2 * size[0], 2 * size[1]), 102, np.uint8)
    )
    scenes = make_scenes(pairs, [str(tmp_path)])
    assert [len(scene.fused_hw) for scene in scenes] == [2, 2, 1, 1, 1, 1]
    assert np.allclose(scenes[0].fused_hw[1], 0.2, atol=0.01)
    assert np.allclose(scenes[1].fused_hw[1], 0.4, atol=0.01)
    assert all(fused.shape == size for fused in scenes[1].fused_hw)


def test_a_folder_of_other_pictures_is_refused(pairs: Sequence[LabelledPair], tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="expected a folder of fused pictures, found none"):
        make_scenes(pairs, [str(tmp_path / "absent")])
    write_picture(tmp_path / "other.png", np.zeros((20, 20), np.uint8))
    with pytest.raises(ContractError, match="named as the pairs are, got 1 others; rename them"):
        make_scenes(pairs, [str(tmp_path)])
    write_picture(tmp_path / f"{pairs[0].name}.png", np.zeros((40, 112), np.uint8))
    with pytest.raises(ContractError, match=r"expected the pair's size \(96, 112\), .* got \(40, 112\)"):
        make_scenes(pairs, [str(tmp_path)])
