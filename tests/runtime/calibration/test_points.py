"""Files of point pairs: commas, blanks, comments, names, and one line for what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from irvis_runtime.calibration.points import read_points
from irvis_runtime.errors import ContractError


def test_commas_blanks_comments_and_a_line_of_names(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("ir_x, ir_y, vis_x, vis_y\n1,2,3,4  # a corner\n\n# none\n5 6 7.5 -8e0\n9;10;11;12\n")
    infrared_n2, visible_n2 = read_points(path)
    assert infrared_n2.tolist() == [[1, 2], [5, 6], [9, 10]]
    assert visible_n2.tolist() == [[3, 4], [7.5, -8], [11, 12]]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1,2,3,4\n1,2,3\n", "line 2: expected four numbers"),
        ("1,2,3,4\nx,2,3,4\n", "line 2: expected four numbers"),
        ("1,2,3,inf\n", "line 1: expected four numbers"),
        ("# nothing\n", "got no points"),
    ],
)
def test_what_is_wrong_is_told_by_its_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "points.csv"
    path.write_text(text)
    with pytest.raises(ContractError, match=told):
        read_points(path)


def test_other_bytes_are_no_points(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_bytes(b"\xff\xfe1,2,3,4")
    with pytest.raises(ContractError, match="not UTF-8"):
        read_points(path)
