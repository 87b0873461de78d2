"""`irvis judge` on small pictures: what it reads, the table of metrics, what it writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime import default_model_dir
from irvis_runtime.errors import ContractError
from irvis_runtime.image import write_picture
from irvis_runtime.pairs import find_dataset_pairs
from irvis_runtime.report.numbers import title
from irvis_train.judge.command import main, parse_options
from irvis_train.judge.contenders import PUBLISHED, Contender, PublishedStudent
from irvis_train.judge.material import list_pairs, read_clips
from irvis_train.judge.metrics_table import judge_metrics, losses, metric_names
from irvis_train.ldfusion import LdFusion

from .judged import average, texture


def write_pairs(folder: Path, names: list[str], size_hw: tuple[int, int]) -> None:
    for seed, name in enumerate(names):
        for sensor, number in (("ir", 0), ("vis", 1)):
            path = folder / Path(name).parent / sensor / f"{Path(name).name}.png"
            write_picture(path, texture(size_hw, 2 * seed + number, 3.0))


def test_metrics_stand_beside_published_pictures(tmp_path: Path) -> None:
    write_pairs(tmp_path / "set", ["1", "2"], (48, 64))
    for stem in ("1", "2"):
        write_picture(tmp_path / "fused/set/Flat" / f"{stem}.png", np.full((48, 64), 90, np.uint8))
    write_picture(tmp_path / "fused/set/Half/1.png", np.full((48, 64), 90, np.uint8))
    pairs = find_dataset_pairs(tmp_path / "set")
    table = judge_metrics([Contender("mine", average)], {"set": pairs}, tmp_path / "fused")["set"]
    assert set(table.rows) == {"mine", "Flat", title("average"), title("maximum")}
    assert table.left_out == {"Half": 1}
    assert table.rows["Flat"]["EN"] == 0
    assert set(metric_names()) <= set(table.rows["mine"])
    assert "EN" in losses(table, "Flat")["mine"]
    assert "EN" not in losses(table, "mine").get("Flat", [])


def test_clips_are_no_pairs(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["day/a", "x/clips/c/10", "x/clips/c/9", "x/clips/c/8"], (32, 40))
    assert [pair.name for pair in list_pairs(tmp_path, [])] == ["day/a"]
    clips = read_clips(tmp_path / "x/clips", 2, 20)
    assert {name: [frame[0].shape for frame in frames] for name, frames in clips.items()} == {
        "c": [(16, 20), (16, 20)]
    }
    with pytest.raises(ContractError, match="at least 3 frames"):
        read_clips(tmp_path / "day", 20, 800)


def test_the_published_student_is_kept(teacher: LdFusion, tmp_path: Path) -> None:
    infrared, visible = texture((32, 48), 1), texture((32, 48), 2)
    first = PublishedStudent(teacher, tmp_path).fuse(infrared, visible)
    (kept,) = tmp_path.iterdir()
    np.save(kept.open("wb"), 255 - first)
    assert np.array_equal(PublishedStudent(teacher, tmp_path).fuse(infrared, visible), 255 - first)
    kept.write_bytes(kept.read_bytes()[:50])
    assert np.array_equal(PublishedStudent(teacher, tmp_path).fuse(infrared, visible), first)


@pytest.fixture
def judged_pairs(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "val", ["day/a", "night/b"], (80, 208))
    still: NDArray[np.uint8] = texture((64, 80), 5, 3.0)
    for number in range(3):
        for sensor in ("ir", "vis"):
            write_picture(tmp_path / "val/x/clips/c" / sensor / f"{number}.png", still + np.uint8(number))
    return tmp_path / "val"


def test_the_command_writes_numbers_and_pictures(
    judged_pairs: Path, teacher_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    few = ["--static-pairs", "1", "--noise-frames", "3", "--patch-pairs", "1", "--robust-pairs", "1"]
    command = [str(default_model_dir()), "--teacher", str(teacher_file), "--val", str(judged_pairs), *few]
    command += [
        "--clips",
        str(judged_pairs / "x/clips"),
        "--cache",
        str(tmp_path / "cache"),
        "--threads",
        "1",
    ]
    figures = [
        "--figures",
        "likeness,static,clips,patch,moved,robust,metrics",
        "--severities",
        "0.5",
        "--threads",
        "1",
    ]
    # A student of another teacher cannot be near this one.
    assert main([*command, *figures, "-o", str(output)]) == 1
    assert "NOT KEPT irvis-s: PSNR to the teacher" in capsys.readouterr().out
    found = json.loads((output / "judged.json").read_text())
    assert found["judged"]["setting"]["pairs"] == ["day/a", "night/b"]
    assert found["judged"]["setting"]["clips"] == {"c": 3}
    assert set(found["judged"]["patch"]) == {PUBLISHED, "irvis-s"}
    assert any("tiles" in text for text in found["judged"]["not_measured"])
    assert {verdict["model"] for verdict in found["verdicts"]} == {"irvis-s"}
    page = (output / "judged.md").read_text()
    assert set(found["judged"]["moved"]) == {PUBLISHED, "irvis-s"}
    for heading in (
        "## Verdict",
        "## A white patch appears",
        "## Mirrored and moved pictures",
        "## Metrics on val, 2 pairs",
        "**NO**",
    ):
        assert heading in page
    assert {path.suffix for path in output.iterdir()} == {".json", ".md", ".png"}


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (["--limit", "psnr=28"], "psnr_db"),
        (["--limit", "patch_levels=-1"], "0 or more"),
        (["--figures", "beauty"], "likeness,static"),
        (["--precisions", "fp8"], "fp32"),
        (["--severities", "0,2"], "above 0 up to 1"),
        (["--noise-frames", "1"], "from 3 up"),
        (["--noise-sigma", "nan"], "a number"),
    ],
)
def test_wrong_options_are_named(wrong: list[str], text: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=text):
        parse_options(["m", "--teacher", "t", "--val", "v", "-o", str(tmp_path), *wrong])


def test_two_models_of_one_name_are_refused(teacher_file: Path, judged_pairs: Path, tmp_path: Path) -> None:
    model = str(default_model_dir())
    where = ["--teacher", str(teacher_file), "--val", str(judged_pairs), "--cache", str(tmp_path / "cache")]
    with pytest.raises(ContractError, match="different names"):
        main([model, model, *where, "-o", str(tmp_path / "out")])
