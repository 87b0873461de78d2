"""Batches of crops, and of whole pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from irvis_runtime.context import make_context
from irvis_train.batches import BatchMaker
from irvis_train.ldfusion import LdFusion

from .labelled_pairs import labelled, read, same


def test_a_cached_crop_is_the_same_window_of_all_planes(teacher: LdFusion) -> None:
    """It begins where the teacher's strides do, and is not mirrored: its target is the whole picture's."""
    rng = np.random.default_rng(1)
    infrared_hw = rng.integers(0, 256, (50, 60), np.uint8)
    pair = labelled(infrared_hw, 255 - infrared_hw)
    maker, corners = BatchMaker([pair], teacher, 1), set()
    windows = np.lib.stride_tricks.sliding_window_view(infrared_hw, (32, 32))
    for step in range(25):
        batch = maker.cached(step, 4, 32)
        assert batch.infrared.shape == batch.visible.shape == batch.target.shape == (4, 1, 32, 32)
        torch.testing.assert_close(batch.infrared + batch.visible, torch.ones_like(batch.infrared))
        torch.testing.assert_close(batch.target, batch.infrared, rtol=0, atol=1e-3)
        assert torch.equal(batch.context, pair.context_2hw.expand(4, -1, -1, -1))
        for crop in torch.round(batch.infrared[:, 0] * 255.0).to(torch.uint8).numpy():
            ((top, left),) = np.argwhere((windows == crop).all(axis=(2, 3)))
            corners.add((int(top), int(left)))
    assert corners == {(top, left) for top in (0, 8, 16) for left in (0, 8, 16, 24)}


def test_a_crop_larger_than_the_picture_goes_on_as_its_reflection(teacher: LdFusion) -> None:
    picture = np.random.default_rng(2).integers(0, 256, (20, 33), np.uint8)
    maker = BatchMaker([labelled(picture, picture)], teacher, 1)
    expected = np.pad(picture, ((0, 28), (0, 15)), mode="symmetric")
    for step in range(4):
        crop = torch.round(maker.cached(step, 1, 48).infrared[0, 0] * 255.0).to(torch.uint8).numpy()
        np.testing.assert_array_equal(crop, expected)
        assert maker.fresh(step, 1, 48).infrared.shape == (1, 1, 48, 48)


def test_a_whole_picture_lacks_what_a_student_could_not_take(teacher: LdFusion) -> None:
    """All planes of one pair, to the last row and column that a multiple leaves."""
    random = np.random.default_rng(1)
    pictures = [random.integers(0, 256, size_hw, np.uint8) for size_hw in ((48, 40), (53, 71))]
    known = [labelled(picture, 255 - picture, f"day/{index}") for index, picture in enumerate(pictures)]
    maker, seen = BatchMaker(known, teacher, 5), set()
    for step in range(12):
        batch = maker.whole(step, 4, 16)
        assert same(maker.whole(step, 4, 16), batch)
        height, width = batch.infrared.shape[2:]
        assert (height, width) in ((48, 32), (48, 64))
        pair = known[int(width == 64)]
        for plane, picture_hw in ((batch.infrared, pair.infrared_hw), (batch.visible, pair.visible_hw)):
            levels = torch.round(plane[0, 0] * 255.0).to(torch.uint8).numpy()
            np.testing.assert_array_equal(levels, picture_hw[:height, :width])
        torch.testing.assert_close(batch.target, batch.infrared, rtol=0, atol=1e-3)
        assert torch.equal(batch.context[0], pair.context_2hw)
        seen.add(pair.name)
    assert len(seen) == 2


def test_whole_pictures_of_a_batch_are_of_one_size(teacher: LdFusion) -> None:
    """As many as there are, none twice; each batch's size is drawn by how many pairs have it."""
    sizes_hw = [(48, 64), (50, 70), (52, 66), (33, 40)]
    known = [
        labelled(np.full(size_hw, 10 * index, np.uint8), np.full(size_hw, 200, np.uint8), f"day/{index}")
        for index, size_hw in enumerate(sizes_hw)
    ]
    maker, counts = BatchMaker(known, teacher, 5), [0, 0]
    for step in range(40):
        batch = maker.whole(step, 2, 16)
        levels = sorted({round(float(picture.mean()) * 255.0) for picture in batch.infrared})
        assert len(batch.context) == len(batch.infrared) == len(levels)
        assert batch.infrared.shape[2:] == ((32, 32) if levels == [30] else (48, 64))
        assert len(levels) == (1 if levels == [30] else 2)
        assert all(float(context[0].mean()) in levels for context in batch.context)
        counts[len(levels) - 1] += 1
    assert 3 <= counts[0] <= 18
    assert len(maker.whole(0, 8, 16).infrared) in (1, 3)


def test_fresh_crops_are_mirrored_before_they_are_labelled(teacher: LdFusion) -> None:
    """Both pictures and their thumbnails alike, in all four ways."""
    rows, columns = np.mgrid[0:64, 0:64]
    ramp = (columns * 3 + rows).astype(np.uint8)
    maker, seen = BatchMaker([labelled(ramp, ramp)], teacher, 3), set()
    for step in range(16):
        batch = maker.fresh(step, 1, 32)
        signs = [
            (
                float(plane[..., -1].mean() - plane[..., 0].mean()) > 0,
                float((plane[..., -1, :] - plane[..., 0, :]).mean()) > 0,
            )
            for plane in (batch.infrared, batch.visible, *batch.context.unbind(dim=1))
        ]
        assert len(set(signs)) == 1
        seen.add(signs[0])
    assert len(seen) == 4


def test_a_fresh_batch_has_the_teachers_picture_of_exactly_its_pictures(
    pairs: Path, teacher: LdFusion
) -> None:
    batch = BatchMaker(read(pairs / "train", teacher), teacher, 5).fresh(0, 3, 48)
    assert torch.equal(batch.target, teacher(batch.infrared, batch.visible))
    for infrared, visible, context in zip(batch.infrared, batch.visible, batch.context, strict=True):
        bytes_hw = [(picture[0] * 255.0).numpy() for picture in (infrared, visible)]
        # Pictures as a camera gives them: whole grey levels.
        infrared_hw, visible_hw = (np.rint(levels).astype(np.uint8) for levels in bytes_hw)
        for levels, whole in zip(bytes_hw, (infrared_hw, visible_hw), strict=True):
            np.testing.assert_allclose(levels, whole, atol=1e-3)
        np.testing.assert_allclose(context.numpy(), make_context(infrared_hw, visible_hw)[0], atol=1e-3)


def test_a_fresh_batch_is_not_the_picture_as_it_was(pairs: Path, teacher: LdFusion) -> None:
    maker = BatchMaker(read(pairs / "train", teacher), teacher, 5)
    means = [float(maker.fresh(step, 1, 32).visible.mean()) for step in range(8)]
    unchanged = [float(maker.cached(step, 1, 32).visible.mean()) for step in range(8)]
    assert np.std(means) > 1.5 * np.std(unchanged)


def test_a_rectangle_appears_under_the_former_context(teacher: LdFusion) -> None:
    """In one picture or both, in the repeat alone, and only what is far from it is held to be still."""
    picture = np.random.default_rng(2).integers(60, 90, (320, 400), np.uint8)
    pair = labelled(picture, picture + np.uint8(60))
    maker, changed_pictures = BatchMaker([pair], teacher, 3), set()
    for step in range(12):
        batch = maker.patched(step, 2, 16)
        assert batch.target.shape == (1, 1, 320, 400)
        assert torch.equal(batch.context[0], pair.context_2hw)
        assert torch.equal(batch.context[0], batch.context[1])
        assert batch.repeat is not None
        assert batch.repeat.still is not None
        changes = [(plane[0] != plane[1])[0] for plane in (batch.infrared, batch.visible)]
        changed_pictures.add(tuple(bool(change.any()) for change in changes))
        rows, columns = torch.nonzero(changes[0] | changes[1], as_tuple=True)
        assert rows.numel()
        far = torch.ones(320, 400)
        top, left = max(int(rows.min()) - 64, 0), max(int(columns.min()) - 64, 0)
        far[top : int(rows.max()) + 65, left : int(columns.max()) + 65] = 0.0
        assert torch.equal(batch.repeat.still[0, 0], far)
    assert changed_pictures == {(True, False), (False, True), (True, True)}
