from __future__ import annotations

import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from irvis_runtime.context import make_context
from irvis_runtime.errors import ContractError
from irvis_runtime.image import write_picture
from irvis_runtime.pairs import find_dataset_pairs, read_pair
from irvis_train.data import (
    LabelledPair,
    as_tensor,
    make_contexts,
    read_labelled_pairs,
    refuse_shared_pairs,
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


def break_picture(path: Path) -> None:
    """Cuts the file off as an interrupted download does."""
    path.write_bytes(path.read_bytes()[:200])


def test_broken_pictures_among_many_are_named_skipped_and_counted(
    tmp_path: Path, teacher: LdFusion, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
    for index in range(200):
        for folder in ("ir", "vis"):
            write_picture(tmp_path / "train" / folder / f"{index:03d}.png", picture)
    broken = [tmp_path / "train" / "vis" / "007.png", tmp_path / "train" / "ir" / "123.png"]
    for path in broken:
        break_picture(path)
    names = [pair.name for pair in read(tmp_path, teacher)]
    assert names == [f"{index:03d}" for index in range(200) if index not in (7, 123)]
    lines = [line for line in capsys.readouterr().err.splitlines() if "skipped" in line]
    assert [line.split(": ")[:2] for line in lines[:2]] == [["skipped", str(path)] for path in broken]
    assert lines[2:] == ["2 of 200 pairs were skipped"]
    # One more is more than a hundredth.
    break_picture(tmp_path / "train" / "ir" / "199.png")
    with pytest.raises(
        ContractError, match=r"^3 of 200 pairs cannot be read, more than 1%; mend or remove"
    ) as info:
        read(tmp_path, teacher)
    assert str(broken[0]) in str(info.value)
    assert "\n" not in str(info.value)


def test_a_broken_picture_among_few_is_refused_in_one_line(pairs: Path, teacher: LdFusion) -> None:
    broken = pairs / "train" / "day" / "vis" / "b.png"
    break_picture(broken)
    with pytest.raises(ContractError, match=r"^1 of 3 pairs cannot be read") as info:
        read(pairs, teacher)
    assert f"{broken}: " in str(info.value)
    assert "\n" not in str(info.value)
    # What was labelled stays in the cache.
    assert len(list((pairs / "cache").iterdir())) == 2


def test_a_pair_to_judge_by_is_not_trained_on(pairs: Path, teacher: LdFusion) -> None:
    train = read(pairs, teacher)
    val = read_labelled_pairs([str(pairs / "val")], [], teacher, 800, pairs / "cache")
    refuse_shared_pairs(train, val)
    refuse_shared_pairs([], val)
    copied = replace(train[1], name="other/name")
    with pytest.raises(
        ContractError, match=r"^other/name: the same pictures are in pairs \(day/b\) and in val_pairs; leave"
    ) as info:
        refuse_shared_pairs(train, [*val, copied])
    assert "\n" not in str(info.value)
    # One shared picture is another scene's: the same camera may have looked twice.
    refuse_shared_pairs(train, [replace(copied, visible_hw=255 - copied.visible_hw)])


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


def test_the_identity_of_a_teacher_is_that_of_its_weights(teacher: LdFusion) -> None:
    before = teacher_identity(teacher)
    torch.manual_seed(3)
    assert teacher_identity(LdFusion(LdFusionShape(width=4, style=False))) == before
    torch.manual_seed(4)
    assert teacher_identity(LdFusion(LdFusionShape(width=4, style=False))) != before
