from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from irvis_runtime.errors import ContractError
from irvis_runtime.image import write_picture
from irvis_train.teacher_data import CropPlan, TrainingPair, draw_batch, read_training_pairs

PLAN = CropPlan(side_px=32, zoom=(1.0, 1.5), target_share=0.0, seed=4)


def write_pairs(root: Path, count: int) -> None:
    random = np.random.default_rng(0)
    for index in range(count):
        for folder in ("ir", "vis"):
            write_picture(root / folder / f"{index:03d}.png", random.integers(0, 255, (20, 24), np.uint8))


def ramps(height: int = 60, width: int = 90) -> TrainingPair:
    """Infrared tells the column, visible the row."""
    rows, columns = np.mgrid[0:height, 0:width]
    places = np.array([[10, 80]])
    return TrainingPair("ramps", (2 * columns).astype(np.uint8), (4 * rows).astype(np.uint8), places)


def test_few_broken_pictures_are_named_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pairs(tmp_path, 20)
    (tmp_path / "vis" / "007.png").write_bytes(b"\x89PNG broken")
    pairs = read_training_pairs([str(tmp_path)], [], 800)
    assert [pair.name for pair in pairs] == [f"{index:03d}" for index in range(20) if index != 7]
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("left out")]
    assert len(told) == 1
    assert told[0].startswith("left out (1 of 20): ")
    assert "007.png" in told[0]


def test_many_broken_pictures_are_refused(tmp_path: Path) -> None:
    write_pairs(tmp_path, 20)
    for index in (3, 9):
        (tmp_path / "ir" / f"{index:03d}.png").write_bytes(b"no picture")
    with pytest.raises(ContractError, match=r"2 of 20 pairs cannot be read, first .*003\.png") as info:
        read_training_pairs([str(tmp_path)], [], 800)
    assert "\n" not in str(info.value)


def test_a_folder_without_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="found no folder with both ir/ and vis/"):
        read_training_pairs([str(tmp_path)], [], 800)
    write_pairs(tmp_path, 2)
    with pytest.raises(ContractError, match="expected pairs besides those left out"):
        read_training_pairs([str(tmp_path)], ["00"], 800)


def test_large_pictures_are_reduced(tmp_path: Path) -> None:
    for folder in ("ir", "vis"):
        write_picture(tmp_path / folder / "a.png", np.full((50, 100), 77, np.uint8))
    (pair,) = read_training_pairs([str(tmp_path)], [], 40)
    assert pair.visible_hw.shape == (20, 40)
    assert np.unique(pair.infrared_hw).tolist() == [77]


def test_a_crop_depends_on_its_place_and_not_on_who_draws_it() -> None:
    pairs = [ramps(), ramps(40, 50)]
    whole = draw_batch(pairs, PLAN, 3, range(6))
    parts = [draw_batch(pairs, PLAN, 3, places) for places in (range(0, 2), range(2, 4), range(4, 6))]
    for name in ("infrared", "visible", "noise"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts])), name
    assert not torch.equal(whole.infrared, draw_batch(pairs, PLAN, 4, range(6)).infrared)


def test_both_pictures_are_cropped_alike_and_enlarged_as_told() -> None:
    batch = draw_batch([ramps()], PLAN, 0, range(40))
    columns, rows = 255.0 * batch.infrared[:, 0] / 2.0, 255.0 * batch.visible[:, 0] / 4.0
    # On ramps the crop's own slopes tell the affine map: its area is 1 / zoom^2, up to the mirror's sign.
    inner = slice(8, 24)
    across = [plane[:, inner, inner].diff(dim=2).mean(dim=(1, 2)) for plane in (columns, rows)]
    down = [plane[:, inner, inner].diff(dim=1).mean(dim=(1, 2)) for plane in (columns, rows)]
    area = (across[0] * down[1] - across[1] * down[0]).numpy()
    zoom = 1.0 / np.sqrt(np.abs(area))
    assert 0.95 < zoom.min() < 1.1
    assert 1.4 < zoom.max() < 1.55
    assert {-1.0, 1.0} == set(np.sign(area))
    angles = np.degrees(np.arctan2(-across[1].numpy(), np.abs(across[0].numpy())))
    assert 2.0 < np.abs(angles).max() < 5.5


def test_noise_is_of_deviation_one_and_differs_between_pictures() -> None:
    noise = draw_batch([ramps()], PLAN, 0, range(8)).noise
    assert noise.shape == (8, 2, 32, 32)
    assert float(noise.std()) == pytest.approx(1.0, abs=0.02)
    assert abs(float((noise[:, 0] * noise[:, 1]).mean())) < 0.05


def test_crops_can_be_centred_on_targets() -> None:
    plan = CropPlan(16, (1.0, 1.0), 1.0, 1)
    batch = draw_batch([ramps()], plan, 0, range(30))
    columns = 255.0 * batch.infrared[:, 0] / 2.0
    inside = (columns.amin(dim=(1, 2)) < 80.0) & (columns.amax(dim=(1, 2)) > 80.0)
    assert bool(inside.all())
    elsewhere = draw_batch([ramps()], CropPlan(16, (1.0, 1.0), 0.0, 1), 0, range(30)).infrared[:, 0]
    assert float((255.0 * elsewhere / 2.0).mean()) < 60.0


def test_flat_crops_are_drawn_again() -> None:
    flat = TrainingPair(
        "flat", np.full((40, 40), 9, np.uint8), np.full((40, 40), 9, np.uint8), np.zeros((0, 2), np.int64)
    )
    batch = draw_batch([flat, ramps()], PLAN, 0, range(20))
    assert bool((batch.infrared.std(dim=(1, 2, 3)) > 0.02).all())
    assert torch.isfinite(draw_batch([flat], PLAN, 0, range(2)).infrared).all()


def test_a_picture_smaller_than_the_crop_is_reflected() -> None:
    batch = draw_batch([ramps(20, 24)], CropPlan(48, (1.0, 1.0), 0.0, 1), 0, range(4))
    assert batch.infrared.shape == (4, 1, 48, 48)
    assert float(batch.infrared.max()) <= 2 * 23 / 255.0 + 1e-6
    assert float(batch.infrared.std()) > 0.01
