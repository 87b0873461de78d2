"""`irvis fuse` on two folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from .fuse_pictures import files_below, make, scene

Run = Callable[..., tuple[int, list[str]]]


def test_folders_are_fused_in_natural_order(tmp_path: Path, run: Run) -> None:
    for name in ("2", "10", "1"):
        make(tmp_path / "ir" / f"{name}.png", scene(channels=1))
        make(tmp_path / "vis" / f"{name}.jpg", scene())
    make(tmp_path / "ir" / "3.png", scene(channels=1))
    out, record = tmp_path / "new" / "out", tmp_path / "record.json"
    code, lines = run(tmp_path / "ir", tmp_path / "vis", "-o", out, "--json", record)
    assert code == 0
    assert len(lines) == 1
    assert lines[0].startswith("irvis fuse: 1 pictures have no partner")
    assert files_below(out) == ["1.png", "10.png", "2.png"]
    written = json.loads(record.read_text())
    assert [entry["name"] for entry in written["pictures"]] == ["1", "2", "10"]
    assert written["unpaired"] == [str(tmp_path / "ir" / "3.png")]


def test_one_bad_pair_does_not_lose_the_others(tmp_path: Path, run: Run) -> None:
    for name in ("a", "b", "c", "d"):
        make(tmp_path / "ir" / f"{name}.png", scene(24, 32, channels=1))
        make(tmp_path / "vis" / f"{name}.png", scene())
    cut = tmp_path / "ir" / "b.png"
    cut.write_bytes(cut.read_bytes()[:-1])
    make(tmp_path / "vis" / "c.png", scene(8, 8))
    record = tmp_path / "record.json"
    code, lines = run(tmp_path / "ir", tmp_path / "vis", "-o", tmp_path / "out", "--json", record)
    assert code == 2
    assert files_below(tmp_path / "out") == ["a.png", "d.png"]
    assert "b.png: expected a whole picture" in lines[0]
    assert "c.png: expected at least 16 x 16" in lines[1]
    assert "2 of 4 infrared inputs had another size" in lines[2]
    assert lines[3].startswith("irvis: error: 2 of 4 pairs could not be fused")
    assert len(lines) == 4
    assert [entry["name"] for entry in json.loads(record.read_text())["failed"]] == ["b", "c"]


def test_output_inside_an_input_folder_is_no_input(tmp_path: Path, run: Run) -> None:
    inputs = tmp_path / "in"
    make(inputs / "ir" / "a.png", scene(channels=1, seed=1))
    make(inputs / "vis" / "a.png", scene(seed=2))
    for _ in range(2):
        assert run(inputs / "ir", inputs / "vis", "-o", inputs / "vis" / "fused") == (0, [])
    assert files_below(inputs / "vis") == ["a.png", "fused", "fused/a.png"]


def test_a_link_in_the_output_folder_does_not_lead_back_into_an_input(tmp_path: Path, run: Run) -> None:
    infrared = make(tmp_path / "ir" / "a.png", scene(channels=1, seed=1))
    visible = make(tmp_path / "vis" / "a.png", scene(seed=2))
    single = make(tmp_path / "vis" / "single.png", scene(seed=3))
    before = {path: path.read_bytes() for path in (infrared, visible, single)}
    link = tmp_path / "out" / "a.png"
    link.parent.mkdir()
    for target in before:
        link.symlink_to(target)
        code, (line,) = run(infrared.parent, visible.parent, "-o", link.parent)
        assert code == 2
        assert f"{link}: this output is an input and would be overwritten" in line
        assert {path: path.read_bytes() for path in before} == before
        link.unlink()


def test_the_record_is_no_picture_of_the_run(tmp_path: Path, run: Run) -> None:
    infrared = make(tmp_path / "ir" / "a.png", scene(channels=1, seed=1))
    visible = make(tmp_path / "vis" / "a.png", scene(seed=2))
    single = make(tmp_path / "ir" / "single.png", scene(channels=1, seed=3))
    before = {path: path.read_bytes() for path in (infrared, visible, single)}
    for record in before:
        code, (line,) = run(infrared.parent, visible.parent, "-o", tmp_path / "out", "--json", record)
        assert code == 2
        assert f"{record}: this output is an input and would be overwritten" in line
    fused = tmp_path / "out" / "a.png"
    code, (line,) = run(infrared.parent, visible.parent, "-o", tmp_path / "out", "--json", fused)
    assert code == 2
    assert "both --json and --output name it" in line
    assert {path: path.read_bytes() for path in before} == before
    assert not (tmp_path / "out").exists()
