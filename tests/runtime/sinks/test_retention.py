"""Which pieces are deleted: the oldest of this name, and never another file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from irvis_runtime.errors import BackendError
from irvis_runtime.sinks.retention import Retention

OTHERS = ("film-a.mkv", "film.mkv.part", "film-1.mp4", "myfilm-1.mkv", "film-1.mkv.txt", "film.txt")


def pieces(folder: Path, names: list[str]) -> None:
    """Files of these names, each a second younger than the one before."""
    for index, name in enumerate(names):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (1_000_000 + index, 1_000_000 + index))


def test_the_oldest_go_and_other_names_stay(tmp_path: Path) -> None:
    pieces(tmp_path, ["film-2.mkv", "film.mkv", "film-10.mkv", "film-3.mkv", *OTHERS])
    lines: list[str] = []
    Retention(tmp_path / "film.mkv", 3, 0, lines.append).make_room()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["film-10.mkv", "film-3.mkv", *OTHERS])
    assert lines == [
        f"{tmp_path}/film-2.mkv was deleted: its output keeps 3 pieces",
        f"{tmp_path}/film.mkv was deleted: its output keeps 3 pieces",
    ]


def test_pieces_of_earlier_runs_count_where_the_name_tells_the_time(tmp_path: Path) -> None:
    names = ["f-20250101T000000Z.mkv", "f-20250101T000000Z-1.mkv", "f-20260101T000000Z.mkv"]
    pieces(tmp_path, [*names, "f-summer.mkv"])
    Retention(tmp_path / "f-{time}.mkv", 2, 0, lambda line: None).make_room()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f-20260101T000000Z.mkv", "f-summer.mkv"]


def test_this_runs_pieces_go_last_whatever_the_clock_says(tmp_path: Path) -> None:
    """A board without a clock begins in 1970: its newest pieces look the oldest."""
    pieces(tmp_path, ["film-2.mkv", "film-3.mkv", "film.mkv", "film-1.mkv"])
    own = [tmp_path / "film-2.mkv", tmp_path / "film-3.mkv"]
    Retention(tmp_path / "film.mkv", 3, 0, lambda line: None, own).make_room()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film-2.mkv", "film-3.mkv"]


def test_without_room_no_piece_begins(tmp_path: Path) -> None:
    pieces(tmp_path, ["film.mkv"])
    more = 2**40
    with pytest.raises(BackendError, match="less than 1099511627776 MiB are free"):
        Retention(tmp_path / "film.mkv", 0, more, lambda line: None).make_room()
    assert not Retention(tmp_path / "film.mkv", 0, more, lambda line: None).find_room()
    assert (tmp_path / "film.mkv").exists(), "all pieces would not have been enough"


@pytest.mark.parametrize("kept", [1, 2, 3, 9])
def test_the_piece_that_begins_is_one_of_those_that_stay(kept: int, tmp_path: Path) -> None:
    pieces(tmp_path, ["film.mkv", "film-1.mkv", "film-2.mkv"])
    Retention(tmp_path / "film.mkv", kept, 0, lambda line: None).make_room()
    assert len(list(tmp_path.iterdir())) == min(kept - 1, 3)


def test_nothing_is_deleted_unless_asked(tmp_path: Path) -> None:
    pieces(tmp_path, ["film.mkv", "film-1.mkv"])
    Retention(tmp_path / "film.mkv", 0, 0, lambda line: None).make_room()
    assert len(list(tmp_path.iterdir())) == 2
