"""Means and look-up against exact arithmetic, and each reason for which there are no kernels."""

from __future__ import annotations

import _ctypes
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from irvis_runtime.errors import ContractError
from irvis_runtime.kernels import library
from irvis_runtime.kernels.library import (
    INTERFACE,
    LEVELS,
    MAX_PIXELS,
    MAX_ROWS,
    SWITCH,
    Kernels,
    describe_kernels,
    kernels,
    kind_of_kernels,
)

from .views import LAYOUTS, laid_out

sizes = st.tuples(st.integers(1, 300), st.integers(1, 300))
layouts, seeds = st.sampled_from(LAYOUTS), st.integers(0, 2**32)
NAME = f"kernels-{platform.machine()}.so"


def exact_sums(picture_hw: NDArray[np.uint8]) -> NDArray[np.int64]:
    """64 x 64 sums in whole numbers: pixels weighted by their parts, in 64ths of a row and of a column."""
    rows, columns = (overlaps_64(length_px) for length_px in picture_hw.shape)
    return np.asarray(rows @ picture_hw.astype(np.int64) @ columns.T)


def overlaps_64(length_px: int) -> NDArray[np.int64]:
    """(64, length): how many 64ths of a pixel lie in each of 64 equal parts of a line."""
    parts, pixels = np.arange(64)[:, None] * length_px, np.arange(length_px) * 64
    overlaps = np.minimum(parts + length_px, pixels + 64) - np.maximum(parts, pixels)
    return np.asarray(np.maximum(overlaps, 0))


def means_of(compiled: Kernels, picture_hw: NDArray[np.uint8]) -> NDArray[np.float32]:
    means = np.full((64, 64), np.nan, np.float32)
    compiled.area_means(picture_hw, means)
    return means


@settings(max_examples=150, deadline=None)
@given(sizes, layouts, seeds)
def test_the_means_are_exact_to_the_last_division(
    compiled: Kernels, size_hw: tuple[int, int], layout: str, seed: int
) -> None:
    picture_hw = laid_out(layout, size_hw, seed)
    sums, pixels = exact_sums(picture_hw), picture_hw.size
    means = means_of(compiled, picture_hw)
    # Bit for bit what the formula gives, and to a last bit what a division would.
    np.testing.assert_array_equal(means, (sums * (1.0 / pixels)).astype(np.float32))
    assert (np.abs(means - sums / pixels) <= np.spacing(means)).all()


@pytest.mark.parametrize("size_hw", [(MAX_ROWS, MAX_PIXELS // MAX_ROWS), (1, MAX_PIXELS), (MAX_ROWS, 1)])
def test_no_sum_overflows_in_the_largest_pictures(compiled: Kernels, size_hw: tuple[int, int]) -> None:
    assert (means_of(compiled, np.full(size_hw, 255, np.uint8)) == 255).all()


@settings(max_examples=100, deadline=None)
@given(sizes, layouts, seeds)
def test_every_count_is_looked_up(
    compiled: Kernels, size_hw: tuple[int, int], layout: str, seed: int
) -> None:
    counts_hw = laid_out(layout, size_hw, seed, np.uint16)
    table = np.random.default_rng(seed).integers(0, 256, LEVELS, np.uint8)
    np.testing.assert_array_equal(compiled.look_up(table, counts_hw), table[counts_hw])


def test_counts_may_lie_at_odd_addresses(compiled: Kernels) -> None:
    buffer = np.random.default_rng(0).integers(0, 256, 1 + 2 * 30 * 41, np.uint8)
    counts_hw = buffer[1:].view(np.uint16).reshape(30, 41)
    assert counts_hw.ctypes.data % 2 == 1 or buffer.ctypes.data % 2 == 1
    table = np.arange(LEVELS).astype(np.uint8)
    np.testing.assert_array_equal(compiled.look_up(table, counts_hw), counts_hw.astype(np.uint8))


@pytest.mark.parametrize(
    "table",
    [np.zeros(256, np.uint8), np.zeros(LEVELS, np.float32), np.zeros(2 * LEVELS, np.uint8)[::2]],
    ids=["short", "floats", "strided"],
)
def test_another_table_is_refused(compiled: Kernels, table: NDArray[np.uint8]) -> None:
    with pytest.raises(ContractError, match=r"expected a contiguous uint8 \(65536,\), got"):
        compiled.look_up(table, np.zeros((2, 2), np.uint16))


def contexts(seed: int, count: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(0, 255, (count, 1, 2, 64, 64)).astype(np.float32)


@given(seeds, st.floats(0, 5), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_two_stages_follow_their_goal(compiled: Kernels, seed: int, elapsed: float, left: float) -> None:
    goal, first, second = contexts(seed, 3)
    elapsed_32, left_32 = float(np.float32(elapsed)), float(np.float32(left))
    ahead, behind = (stage.astype(np.float64) - goal for stage in (first, second))
    expected = (goal + left_32 * ahead, goal + left_32 * (behind + elapsed_32 * ahead))
    got = compiled.follow(goal, first, second, elapsed, left)
    # Four roundings, of sums that are at most 255 (2 + elapsed).
    np.testing.assert_allclose(got, expected, rtol=0, atol=4 * 2**-24 * 255 * (2 + elapsed))
    # Whatever lies otherwise in memory is read as it is.
    views = (np.asfortranarray(goal), first[..., ::-1].copy()[..., ::-1], second.astype(np.float64))
    assert np.array_equal(compiled.follow(*views, elapsed, left), got)


@given(seeds, st.floats(0, 3))
@settings(max_examples=50, deadline=None)
def test_blocks_are_compared_by_their_correlation(compiled: Kernels, seed: int, change: float) -> None:
    """But for blocks within a millionth of a limit, where sums in another order may decide otherwise."""
    before, other, texture = contexts(seed, 3)
    before *= np.repeat(np.repeat(texture[:, :, :8, :8] / 255, 8, axis=2), 8, axis=3)
    now = (before + change * other).astype(np.float32)
    least, alike = 2e5, 0.5
    blocks = [
        context.astype(np.float64).reshape(2, 8, 8, 8, 8).swapaxes(2, 3).reshape(2, 64, 64)
        for context in (now, before)
    ]
    one, two = (block - block.mean(axis=2, keepdims=True) for block in blocks)
    energy = np.minimum((one**2).sum(axis=2), (two**2).sum(axis=2))
    likeness = (one * two).sum(axis=2) / np.sqrt((one**2).sum(axis=2) * (two**2).sum(axis=2))
    assume((np.abs(energy / least - 1) > 1e-6).all() and (np.abs(likeness - alike) > 1e-6).all())
    is_compared = energy > least
    expected = np.stack([is_compared.sum(axis=1), (is_compared & (likeness < alike)).sum(axis=1)], axis=1)
    np.testing.assert_array_equal(compiled.compare_blocks(now, before, least, alike), expected)


def test_contexts_of_other_sizes_are_refused(compiled: Kernels) -> None:
    goal, first, second = contexts(0, 3)
    with pytest.raises(ContractError, match=r"expected 8192 values, got .*\(1, 1, 64, 64\)"):
        compiled.follow(goal, first, second[:, :1], 0.1, 0.9)
    with pytest.raises(ContractError, match="expected 8192 values, got"):
        compiled.compare_blocks(goal[:, :1], first[:, :1], 1, 0.5)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the libraries are looked for meanwhile."""
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setattr(library, "__file__", str(tmp_path / "library.py"))
    library._found.cache_clear()
    yield tmp_path
    library._found.cache_clear()


def reason() -> str:
    """Why there are none, as the log has it."""
    assert kernels() is None
    assert kind_of_kernels() == "none"
    described = describe_kernels()
    assert described.startswith("kernels: none (")
    assert described.endswith("; NumPy and OpenCV do their work, at several times the CPU's")
    assert "\n" not in described
    return described


def test_they_are_found_in_the_packages_folder(compiled: Kernels, folder: Path) -> None:
    shutil.copy(Path(library.__spec__.origin or "").with_name(NAME), folder)
    assert kernels() is not None
    assert kind_of_kernels() == "compiled"
    assert describe_kernels() == f"kernels: compiled, {platform.machine()}"
    assert (compiled.interface, compiled.runs_here) == (INTERFACE, True)


def test_they_can_be_switched_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "off")
    assert "(IRVIS_KERNELS=off)" in reason()


def test_a_clone_that_is_not_built_has_none(folder: Path) -> None:
    assert f"({NAME} is not there: " in reason()


def test_what_is_no_library_is_none(folder: Path) -> None:
    (folder / NAME).write_text("no ELF file\n")
    assert "invalid ELF header" in reason() or "file too short" in reason()


def test_a_library_without_the_functions_is_none(folder: Path) -> None:
    shutil.copy(_ctypes.__file__, folder / NAME)
    assert "irvis_kernels_interface" in reason()


def test_a_library_of_another_version_is_none(
    compiled: Kernels, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(Path(library.__spec__.origin or "").with_name(NAME), folder)
    monkeypatch.setattr(library, "INTERFACE", INTERFACE + 1)
    assert f"({NAME} is of another version of irvis, run `make install` in the clone)" in reason()


def test_on_a_cpu_without_the_instructions_there_are_none(
    compiled: Kernels, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What such a CPU answers is in test_machines.py."""

    class OnOldCpu(Kernels):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            self.runs_here = False

    shutil.copy(Path(library.__spec__.origin or "").with_name(NAME), folder)
    monkeypatch.setattr(library, "Kernels", OnOldCpu)
    assert "(this CPU lacks SSSE3)" in reason()


def test_no_other_folder_is_searched(compiled: Kernels, tmp_path: Path) -> None:
    """Neither the current folder nor LD_LIBRARY_PATH can put another library in their place."""
    (tmp_path / NAME).write_text("no ELF file\n")
    runtime = Path(library.__file__).parents[2]
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": str(runtime), SWITCH: ""}
    code = "from irvis_runtime.kernels.library import describe_kernels; print(describe_kernels())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"kernels: compiled, {platform.machine()}\n"
