from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irvis_runtime.errors import ContractError
from irvis_runtime.pairs import (
    Pair,
    find_dataset_pairs,
    find_pairs,
    find_unpaired,
    natural_key,
    open_pair,
    read_pair,
)


def make_picture(path: Path, height: int = 20, width: int = 30, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(height + width)
    picture = rng.integers(0, 256, (height, width, channels), np.uint8)
    assert cv2.imwrite(str(path), picture)
    return path


def make_pairs(folder: Path, *stems: str, infrared: str = "ir", visible: str = "vis") -> None:
    for stem in stems:
        make_picture(folder / infrared / f"{stem}.png")
        make_picture(folder / visible / f"{stem}.png", channels=3)


def test_pairs_come_by_stem_in_natural_order(tmp_path: Path) -> None:
    make_pairs(tmp_path, "scene10", "scene2", "scene1")
    names = [pair.name for pair in find_pairs(tmp_path / "ir", tmp_path / "vis")]
    assert names == ["scene1", "scene2", "scene10"]


def test_suffixes_may_differ(tmp_path: Path) -> None:
    infrared = make_picture(tmp_path / "ir" / "a.v1.tiff")
    visible = make_picture(tmp_path / "vis" / "a.v1.JPG", channels=3)
    assert find_pairs(tmp_path / "ir", tmp_path / "vis") == [Pair("a.v1", infrared, visible)]


def test_what_has_no_partner_is_named(tmp_path: Path) -> None:
    make_pairs(tmp_path, "a")
    lonely = [make_picture(tmp_path / "ir" / "b2.png"), make_picture(tmp_path / "vis" / "b10.png")]
    assert [pair.name for pair in find_pairs(tmp_path / "ir", tmp_path / "vis")] == ["a"]
    assert find_unpaired(tmp_path / "ir", tmp_path / "vis") == lonely


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    make_pairs(tmp_path, "a")
    (tmp_path / "ir" / "notes.txt").write_text("x")
    (tmp_path / "ir" / ".hidden.png").write_bytes(b"x")
    (tmp_path / "ir" / "folder.png").mkdir()
    assert len(find_pairs(tmp_path / "ir", tmp_path / "vis")) == 1
    assert find_unpaired(tmp_path / "ir", tmp_path / "vis") == []


def test_no_common_name_is_an_error(tmp_path: Path) -> None:
    make_picture(tmp_path / "ir" / "a.png")
    make_picture(tmp_path / "vis" / "b.png")
    with pytest.raises(ContractError, match=r"ir \(1 pictures\).*vis \(1 pictures\).*same name"):
        find_pairs(tmp_path / "ir", tmp_path / "vis")


def test_two_files_of_one_stem_are_an_error(tmp_path: Path) -> None:
    make_pairs(tmp_path, "a")
    make_picture(tmp_path / "vis" / "a.jpg")
    with pytest.raises(ContractError, match=r"a\.jpg and a\.png have the same stem"):
        find_pairs(tmp_path / "ir", tmp_path / "vis")


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    make_pairs(tmp_path, "a")
    with pytest.raises(ContractError, match="expected a folder"):
        find_pairs(tmp_path / "ir", tmp_path / "visible")


def test_dataset_pairs_are_named_by_folder(tmp_path: Path) -> None:
    make_pairs(tmp_path / "Road", "2", "1")
    make_pairs(tmp_path / "Video" / "clips" / "0111", "0000", infrared="infrared", visible="visible")
    make_pairs(tmp_path / "Other", "x", visible="vi")
    make_picture(tmp_path / "Road" / "vis_hr" / "1.png")
    make_picture(tmp_path / "thermal only" / "ir" / "1.png")
    (tmp_path / "Video" / "videos").mkdir()
    (tmp_path / "Video" / "videos" / "a_ir.mp4").write_bytes(b"x")
    pairs = find_dataset_pairs(tmp_path)
    assert [pair.name for pair in pairs] == ["Other/x", "Road/1", "Road/2", "Video/clips/0111/0000"]
    assert pairs[1].visible == tmp_path / "Road" / "vis" / "1.png"


def test_dataset_root_may_hold_the_pairs_itself(tmp_path: Path) -> None:
    make_pairs(tmp_path, "1")
    assert [pair.name for pair in find_dataset_pairs(tmp_path)] == ["1"]


def test_linked_datasets_are_found_once(tmp_path: Path) -> None:
    make_pairs(tmp_path / "store" / "Road", "1")
    root = tmp_path / "root"
    root.mkdir()
    (root / "Road").symlink_to(tmp_path / "store" / "Road")
    (tmp_path / "store" / "Road" / "again").symlink_to(root)
    assert [pair.name for pair in find_dataset_pairs(root)] == ["Road/1"]


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_dataset_without_pairs_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ContractError, match=r"expected a folder of pairs|no folder with both"):
        find_dataset_pairs(tmp_path / name)


def test_shared_training_data_are_found(shared: Path) -> None:
    # data/README.md: 458 pairs and one clip of 20 frames; its videos and vis_hr/ are no pairs.
    pairs = find_dataset_pairs(shared / "data" / "train")
    assert len(pairs) == 458 + 20
    assert len({pair.name for pair in pairs}) == len(pairs)


def test_read_pair_is_of_the_visible_size(tmp_path: Path) -> None:
    pair = Pair(
        "a",
        make_picture(tmp_path / "ir.png", 32, 40),
        make_picture(tmp_path / "vis.png", 48, 50, channels=3),
    )
    infrared_hw, visible_hw = read_pair(pair)
    assert infrared_hw.shape == visible_hw.shape == (48, 50)
    assert infrared_hw.dtype == visible_hw.dtype == np.uint8
    opened = open_pair(pair)
    assert opened.was_resized
    assert opened.visible.chroma_hw2 is not None
    np.testing.assert_array_equal(opened.infrared_hw, infrared_hw)


def test_equal_sizes_are_read_as_they_are(tmp_path: Path) -> None:
    infrared = make_picture(tmp_path / "ir.png")
    visible = make_picture(tmp_path / "vis.png")
    infrared_hw, visible_hw = read_pair(Pair("a", infrared, visible))
    np.testing.assert_array_equal(infrared_hw, cv2.imread(str(infrared), cv2.IMREAD_UNCHANGED))
    np.testing.assert_array_equal(visible_hw, cv2.imread(str(visible), cv2.IMREAD_UNCHANGED))
    assert not open_pair(Pair("a", infrared, visible)).was_resized


@pytest.mark.parametrize("size_hw", [(1, 1), (15, 16), (16, 15), (15, 400)])
@pytest.mark.parametrize("which", ["ir", "vis"])
def test_tiny_pictures_are_refused(tmp_path: Path, which: str, size_hw: tuple[int, int]) -> None:
    paths = {name: make_picture(tmp_path / f"{name}.png", 16, 16) for name in ("ir", "vis")}
    make_picture(paths[which], *size_hw)
    with pytest.raises(ContractError, match=rf"{which}\.png: expected at least 16 x 16 pixels, got"):
        read_pair(Pair("a", paths["ir"], paths["vis"]))


def test_smallest_pictures_are_read(tmp_path: Path) -> None:
    pair = Pair("a", make_picture(tmp_path / "ir.png", 16, 16), make_picture(tmp_path / "vis.png", 16, 16))
    assert read_pair(pair)[0].shape == (16, 16)


def test_a_pair_that_vanished_is_refused(tmp_path: Path) -> None:
    make_pairs(tmp_path, "a")
    (pair,) = find_pairs(tmp_path / "ir", tmp_path / "vis")
    shutil.rmtree(tmp_path / "vis")
    with pytest.raises(ContractError, match="no such file"):
        read_pair(pair)


@given(st.lists(st.text(alphabet="ab019_-. é²", max_size=6), max_size=8))
def test_natural_order_is_an_order(names: list[str]) -> None:
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_numbers_in_names_count_as_numbers(one: int, other: int) -> None:
    assert (natural_key(f"f{one}.x") < natural_key(f"f{other}.x")) == (one < other)
