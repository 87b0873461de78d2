from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from irvis_runtime.context import make_context
from irvis_runtime.errors import ContractError
from irvis_runtime.image import write_picture
from irvis_runtime.pairs import find_dataset_pairs, read_pair
from irvis_train.data import (
    Batch,
    BatchMaker,
    LabelledPair,
    as_tensor,
    make_contexts,
    read_labelled_pairs,
    teacher_identity,
)
from irvis_train.ldfusion import LdFusion, LdFusionShape


@pytest.fixture
def calls(teacher: LdFusion) -> list[int]:
    """Grows by one at every call of the teacher."""
    seen: list[int] = []
    teacher.register_forward_hook(lambda module, inputs, output: seen.append(1))
    return seen


def read(root: Path, teacher: LdFusion, *exclude: str, side_px: int = 800) -> list[LabelledPair]:
    return read_labelled_pairs([str(root / "train")], exclude, teacher, side_px, root / "cache")


def planes(batch: Batch) -> list[Tensor]:
    return [batch.infrared, batch.visible, batch.context, batch.target]


def same(a: Batch, b: Batch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(planes(a), planes(b), strict=True))


def labelled(infrared_hw: NDArray[np.uint8], visible_hw: NDArray[np.uint8]) -> LabelledPair:
    """A pair whose target is its infrared picture."""
    target_hw = (infrared_hw / 255.0).astype(np.float16)
    context = make_contexts(as_tensor(infrared_hw), as_tensor(visible_hw))[0]
    return LabelledPair("pair", infrared_hw, visible_hw, target_hw, context)


def test_pairs_are_read_labelled_and_named(pairs: Path, teacher: LdFusion) -> None:
    read_pairs = read(pairs, teacher)
    assert [pair.name for pair in read_pairs] == ["day/a", "day/b", "night/c"]
    for pair, files in zip(read_pairs, find_dataset_pairs(pairs / "train"), strict=True):
        infrared_hw, visible_hw = read_pair(files)
        np.testing.assert_array_equal(pair.infrared_hw, infrared_hw)
        np.testing.assert_array_equal(pair.visible_hw, visible_hw)
        fused = teacher(as_tensor(infrared_hw), as_tensor(visible_hw))[0, 0].numpy()
        np.testing.assert_array_equal(pair.target_hw, fused.astype(np.float16))
        context = make_context(infrared_hw, visible_hw)[0]
        np.testing.assert_allclose(pair.context_2hw.numpy(), context, atol=1e-3)


def test_excluded_pairs_are_left_out(pairs: Path, teacher: LdFusion) -> None:
    assert [pair.name for pair in read(pairs, teacher, "night")] == ["day/a", "day/b"]
    assert [pair.name for pair in read(pairs, teacher, "night", "/b")] == ["day/a"]


def test_an_exclusion_that_fits_nothing_is_refused(pairs: Path, teacher: LdFusion) -> None:
    with pytest.raises(ContractError, match="'nihgt', which none of 3 pairs has"):
        read(pairs, teacher, "nihgt")


def test_a_folder_without_pairs_is_refused(pairs: Path, teacher: LdFusion) -> None:
    with pytest.raises(
        ContractError, match=r"train: expected pairs besides those that day, night leaves out"
    ):
        read(pairs, teacher, "day", "night")
    (pairs / "none").mkdir()
    for folder, match in (("none", "found no folder with both"), ("missing", "expected a folder of pairs")):
        with pytest.raises(ContractError, match=match) as info:
            read_labelled_pairs(
                [str(pairs / "train"), str(pairs / folder)], [], teacher, 800, pairs / "cache"
            )
        assert str(pairs / folder) in str(info.value)


def test_one_unreadable_picture_among_many_is_named_in_one_line(pairs: Path, teacher: LdFusion) -> None:
    broken = pairs / "train" / "day" / "vis" / "b.png"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(ContractError) as info:
        read(pairs, teacher)
    assert str(info.value).startswith(f"{broken}: ")
    assert "\n" not in str(info.value)
    # What was labelled before it stays in the cache.
    assert len(list((pairs / "cache").iterdir())) == 1


def test_the_second_reading_takes_the_same_labels_from_the_cache(
    pairs: Path, teacher: LdFusion, calls: list[int]
) -> None:
    first = read(pairs, teacher)
    assert len(calls) == 3
    second = read(pairs, teacher)
    assert len(calls) == 3
    for a, b in zip(first, second, strict=True):
        assert a.target_hw.dtype == b.target_hw.dtype == np.float16
        np.testing.assert_array_equal(a.target_hw, b.target_hw)


def test_another_teacher_labels_anew(pairs: Path, teacher: LdFusion, calls: list[int]) -> None:
    first = read(pairs, teacher)
    with torch.no_grad():
        teacher.decoder.model_up.get_submodule("10").get_parameter("bias").add_(0.1)
    second = read(pairs, teacher)
    assert len(calls) == 6
    assert not np.array_equal(first[0].target_hw, second[0].target_hw)


def damaged(path: Path) -> Iterator[None]:
    """Damages the file in one way after the other."""
    whole = path.read_bytes()
    for size in (0, 5, 100, len(whole) - 1):
        path.write_bytes(whole[:size])
        yield
    for array in (np.zeros((3, 4), np.float16), np.load(path).astype(np.float32), np.array([{}])):
        np.save(path, array, allow_pickle=True)
        yield
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(3))
    yield


def test_a_damaged_cache_file_is_made_anew(pairs: Path, teacher: LdFusion, calls: list[int]) -> None:
    first = read(pairs, teacher)
    for path in sorted((pairs / "cache").iterdir()):
        whole = path.read_bytes()
        for _ in damaged(path):
            calls.clear()
            again = read(pairs, teacher)
            assert len(calls) == 1
            assert path.read_bytes() == whole
            for a, b in zip(first, again, strict=True):
                np.testing.assert_array_equal(a.target_hw, b.target_hw)
        break


def test_a_full_disk_while_labelling_leaves_no_half_file(pairs: Path, teacher: LdFusion) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        with pytest.raises(ContractError, match=r"cannot write .*cache") as info:
            read(pairs, teacher)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(info.value)
    assert list((pairs / "cache").iterdir()) == []


def test_a_cache_that_cannot_be_a_folder_is_refused(pairs: Path, teacher: LdFusion) -> None:
    (pairs / "cache").write_text("a file")
    with pytest.raises(ContractError, match=r"cannot write .*cache"):
        read(pairs, teacher)


def test_large_pictures_are_reduced_before_they_are_labelled(pairs: Path, teacher: LdFusion) -> None:
    for pair, whole in zip(read(pairs, teacher, side_px=35), read(pairs, teacher), strict=True):
        height, width = whole.visible_hw.shape
        scale = 35 / max(height, width)
        assert pair.visible_hw.shape == (max(16, round(height * scale)), max(16, round(width * scale)))
        assert pair.infrared_hw.shape == pair.target_hw.shape == pair.visible_hw.shape
        assert abs(float(pair.visible_hw.mean()) - float(whole.visible_hw.mean())) < 1.5


def test_reducing_by_two_averages_four_pixels(tmp_path: Path, teacher: LdFusion) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 64), np.uint8)
    for folder in ("ir", "vis"):
        write_picture(tmp_path / "train" / folder / "a.png", picture)
    (pair,) = read(tmp_path, teacher, side_px=32)
    means = picture.reshape(20, 2, 32, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(pair.visible_hw, means, atol=0.51)


@settings(max_examples=25, deadline=None)
@given(height=st.integers(16, 300), width=st.integers(16, 300), seed=st.integers(0, 99))
def test_contexts_are_those_of_the_runtime(height: int, width: int, seed: int) -> None:
    infrared_hw, visible_hw = np.random.default_rng(seed).integers(0, 256, (2, height, width), np.uint8)
    expected = make_context(infrared_hw, visible_hw)
    contexts = make_contexts(as_tensor(infrared_hw), as_tensor(visible_hw))
    np.testing.assert_allclose(contexts.numpy(), expected, rtol=0, atol=1e-3)


def test_batches_depend_on_seed_and_step_alone(pairs: Path, teacher: LdFusion) -> None:
    labelled_pairs = read(pairs, teacher)
    one, other = BatchMaker(labelled_pairs, teacher, 7), BatchMaker(labelled_pairs, teacher, 7)
    forward = [(one.cached(step, 2, 32), one.fresh(step, 2, 32)) for step in range(4)]
    np.random.seed(0)  # noqa: NPY002 - the global generator must not matter
    torch.manual_seed(0)
    backward = [(other.fresh(step, 2, 32), other.cached(step, 2, 32)) for step in reversed(range(4))]
    for (cached, fresh), (fresh_again, cached_again) in zip(forward, reversed(backward), strict=True):
        assert same(cached, cached_again)
        assert same(fresh, fresh_again)
    assert not same(forward[0][0], forward[1][0])
    assert not same(forward[0][1], forward[1][1])
    assert not same(BatchMaker(labelled_pairs, teacher, 8).cached(0, 2, 32), forward[0][0])
    assert not same(BatchMaker(labelled_pairs, teacher, 8).fresh(0, 2, 32), forward[0][1])


def test_a_cached_crop_is_the_same_window_of_all_planes(teacher: LdFusion) -> None:
    rng = np.random.default_rng(1)
    infrared_hw = rng.integers(0, 256, (50, 60), np.uint8)
    maker = BatchMaker([labelled(infrared_hw, 255 - infrared_hw)], teacher, 1)
    batch = maker.cached(0, 4, 32)
    assert batch.infrared.shape == batch.visible.shape == batch.target.shape == (4, 1, 32, 32)
    torch.testing.assert_close(batch.infrared + batch.visible, torch.ones_like(batch.infrared))
    torch.testing.assert_close(batch.target, batch.infrared, rtol=0, atol=1e-3)
    windows = np.lib.stride_tricks.sliding_window_view(infrared_hw, (32, 32))
    for crop in torch.round(batch.infrared[:, 0] * 255.0).to(torch.uint8).numpy():
        flips = [crop, crop[::-1], crop[:, ::-1], crop[::-1, ::-1]]
        assert sum(int((windows == flip).all(axis=(2, 3)).sum()) for flip in flips) == 1


def test_crops_and_contexts_are_flipped_together(teacher: LdFusion) -> None:
    rows, columns = np.mgrid[0:64, 0:64]
    ramp = (columns * 3 + rows).astype(np.uint8)
    maker = BatchMaker([labelled(ramp, ramp)], teacher, 3)
    seen = set()
    for step in range(12):
        batch = maker.cached(step, 1, 32)
        signs = [
            (
                float(plane[..., -1].mean() - plane[..., 0].mean()) > 0,
                float((plane[..., -1, :] - plane[..., 0, :]).mean()) > 0,
            )
            for plane in (*planes(batch)[:2], batch.context[:, :1], batch.context[:, 1:], batch.target)
        ]
        assert len(set(signs)) == 1
        seen.add(signs[0])
    assert len(seen) == 4


def test_a_crop_larger_than_the_picture_goes_on_as_its_reflection(teacher: LdFusion) -> None:
    picture = np.random.default_rng(2).integers(0, 256, (20, 33), np.uint8)
    maker = BatchMaker([labelled(picture, picture)], teacher, 1)
    expected = np.pad(picture, ((0, 28), (0, 15)), mode="symmetric")
    flips = [expected, expected[::-1], expected[:, ::-1], expected[::-1, ::-1]]
    for step in range(4):
        crop = torch.round(maker.cached(step, 1, 48).infrared[0, 0] * 255.0).to(torch.uint8).numpy()
        assert any(np.array_equal(crop, flip) for flip in flips)
        assert maker.fresh(step, 1, 48).infrared.shape == (1, 1, 48, 48)


def test_a_fresh_batch_has_the_teachers_picture_of_exactly_its_pictures(
    pairs: Path, teacher: LdFusion
) -> None:
    batch = BatchMaker(read(pairs, teacher), teacher, 5).fresh(0, 3, 48)
    assert torch.equal(batch.target, teacher(batch.infrared, batch.visible))
    for infrared, visible, context in zip(batch.infrared, batch.visible, batch.context, strict=True):
        bytes_hw = [(picture[0] * 255.0).numpy() for picture in (infrared, visible)]
        # Pictures as a camera gives them: whole grey levels.
        infrared_hw, visible_hw = (np.rint(levels).astype(np.uint8) for levels in bytes_hw)
        for levels, whole in zip(bytes_hw, (infrared_hw, visible_hw), strict=True):
            np.testing.assert_allclose(levels, whole, atol=1e-3)
        np.testing.assert_allclose(context.numpy(), make_context(infrared_hw, visible_hw)[0], atol=1e-3)


def test_a_fresh_batch_is_not_the_picture_as_it_was(pairs: Path, teacher: LdFusion) -> None:
    maker = BatchMaker(read(pairs, teacher), teacher, 5)
    means = [float(maker.fresh(step, 1, 32).visible.mean()) for step in range(8)]
    unchanged = [float(maker.cached(step, 1, 32).visible.mean()) for step in range(8)]
    assert np.std(means) > 1.5 * np.std(unchanged)


def test_the_identity_of_a_teacher_is_that_of_its_weights(teacher: LdFusion) -> None:
    before = teacher_identity(teacher)
    torch.manual_seed(3)
    assert teacher_identity(LdFusion(LdFusionShape(width=2, style=False))) == before
    torch.manual_seed(4)
    assert teacher_identity(LdFusion(LdFusionShape(width=2, style=False))) != before
