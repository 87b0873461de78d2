from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irvis_quantize.examples import Example, extremes, read_examples, split
from irvis_runtime import default_model_dir
from irvis_runtime.contract import CONTEXT, CONTEXT_SHAPE, INFRARED, VISIBLE
from irvis_runtime.errors import ContractError


def numbered(count: int) -> list[Example]:
    """Examples that differ in nothing but their arrays."""
    return [
        Example("same", {INFRARED: np.full((1, 1, 4, 4), n)}, np.zeros((4, 4), np.float32))
        for n in range(count)
    ]


@given(st.integers(3, 40))
def test_split_gives_every_third_to_the_judges(count: int) -> None:
    examples = numbered(count)
    calibration, held_out = split(examples)
    assert [id(e) for e in held_out] == [id(e) for e in examples[2::3]]
    assert {id(e) for e in calibration} | {id(e) for e in held_out} == {id(e) for e in examples}
    assert len(calibration) + len(held_out) == count
    assert len(calibration) > len(held_out) > 0


def test_reads_what_the_graph_takes(pairs_dir: Path, examples: list[Example]) -> None:
    found = read_examples(pairs_dir, pairs_dir / "taught", 36)
    assert [example.name for example in found] == [example.name for example in examples]
    for example, original in zip(found, examples, strict=True):
        for port in (INFRARED, VISIBLE):
            np.testing.assert_array_equal(example.inputs[port], original.inputs[port])
        np.testing.assert_array_equal(example.inputs[CONTEXT], original.inputs[CONTEXT])
        assert example.target_hw.dtype == np.float32
        assert np.abs(example.target_hw - original.target_hw).max() <= 0.5


def test_count_spreads_over_the_folder(pairs_dir: Path) -> None:
    found = read_examples(pairs_dir, pairs_dir / "taught", 3)
    assert [example.name for example in found] == ["pair0", "pair2", "pair5"]


def test_exclude_leaves_out_by_part_of_the_name(pairs_dir: Path) -> None:
    found = read_examples(pairs_dir, pairs_dir / "taught", 36, ("r0", "pair5"))
    assert [example.name for example in found] == ["pair1", "pair2", "pair3", "pair4"]
    with pytest.raises(
        ContractError, match="at least 3 pairs to calibrate and to judge, got 0 after --exclude"
    ):
        read_examples(pairs_dir, pairs_dir / "taught", 36, ("pair",))


def test_model_directory_teaches(pairs_dir: Path) -> None:
    found = read_examples(pairs_dir, default_model_dir(), 3)
    assert all(example.target_hw.shape == (96, 128) for example in found)
    assert all(0 <= example.target_hw.min() < example.target_hw.max() <= 255 for example in found)


def test_too_few_pairs(pairs_dir: Path, tmp_path: Path) -> None:
    for folder in ("ir", "vis"):
        (tmp_path / folder).mkdir()
        for name in ("pair0.png", "pair1.png"):
            shutil.copy(pairs_dir / folder / name, tmp_path / folder / name)
    with pytest.raises(
        ContractError, match="expected at least 3 pairs to calibrate and to judge, got 2; add pairs"
    ):
        read_examples(tmp_path, pairs_dir / "taught", 36)
    with pytest.raises(ContractError, match="--count: expected 3 or more, got 2"):
        read_examples(pairs_dir, pairs_dir / "taught", 2)


def test_a_missing_target_is_found_before_anything_is_fused(pairs_dir: Path, tmp_path: Path) -> None:
    taught = Path(shutil.copytree(pairs_dir / "taught", tmp_path / "taught"))
    (taught / "pair4.png").unlink()
    with pytest.raises(ContractError, match="pair4"):
        read_examples(pairs_dir, taught, 36)


def test_extremes_are_inputs_of_the_graph() -> None:
    found = extremes()
    assert len(found) >= 5
    pictures = [np.asarray(inputs[INFRARED]) for inputs in found]
    assert any((picture == 0).all() for picture in pictures)
    assert any((picture == 255).all() for picture in pictures)
    for inputs in found:
        assert inputs[INFRARED].dtype == inputs[VISIBLE].dtype == np.uint8
        assert inputs[INFRARED].shape == inputs[VISIBLE].shape == (1, 1, 128, 160)
        assert inputs[CONTEXT].shape == CONTEXT_SHAPE
