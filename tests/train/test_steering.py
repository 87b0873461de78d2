from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from irvis_runtime.errors import ContractError
from irvis_runtime.image import read_picture, write_picture
from irvis_train.hot_targets import background_gradient, find_hot_targets, target_contrast
from irvis_train.ldfusion import LdFusion
from irvis_train.steering import add_steer_arguments, run_steer, texts_of
from irvis_train.steering_report import Comparison, Steered, judge, report_markdown
from irvis_train.teacher import load_teacher
from irvis_train.teacher_training import save_teacher


def write_scenes(root: Path) -> Path:
    """Two pairs with a hot target each, and a small one without."""
    random = np.random.default_rng(0)
    for index, (height, width) in enumerate(((80, 96), (70, 100), (30, 40))):
        infrared = random.integers(40, 60, (height, width), np.uint8)
        visible = random.integers(0, 255, (height, width), np.uint8)
        if index < 2:
            infrared[30:40, 30 + 20 * index : 38 + 20 * index] = 240
        write_picture(root / "set" / "ir" / f"{index}.png", infrared)
        write_picture(root / "set" / "vis" / f"{index}.png", visible)
    return root


def steered(*arguments: object) -> Path:
    parser = argparse.ArgumentParser()
    add_steer_arguments(parser)
    return run_steer(parser.parse_args([str(argument) for argument in arguments]))


def test_the_report_holds_the_measures_of_each_teacher(
    teacher: LdFusion, teacher_file: Path, tmp_path: Path
) -> None:
    scenes = write_scenes(tmp_path / "scenes")
    text = {"config": {"objective": {"texts_fused": ["bright | targets"]}}}
    save_teacher(tmp_path / "own.safetensors", teacher, text)
    assert texts_of(tmp_path / "own.safetensors") == ["bright | targets"]
    report = steered(
        *(
            f"{tmp_path / 'own.safetensors'}=bright",
            f"{teacher_file}=dull",
            "--pairs",
            scenes,
            "-o",
            tmp_path / "out",
        ),
        *("--published", teacher_file, "--compare", "bright:dull:target_contrast", "--rows", 2),
    )
    content = json.loads((tmp_path / "out" / "steering.json").read_text())
    assert [each["label"] for each in content["teachers"]] == ["published", "bright", "dull"]
    infrared, visible = (
        torch.from_numpy(read_picture(scenes / "set" / folder / "0.png").astype(np.float32) / 255.0)[
            None, None
        ]
        for folder in ("ir", "vis")
    )
    with torch.no_grad():
        fused = load_teacher(teacher_file)(infrared, visible)
    mask = find_hot_targets(infrared)
    of_first = content["teachers"][1]["pairs"]["set/0"]
    assert of_first["target_contrast"] == pytest.approx(float(target_contrast(fused, mask)), abs=1e-3)
    assert of_first["background_gradient"] == pytest.approx(float(background_gradient(fused, mask)), abs=1e-3)
    of_small = content["teachers"][1]["pairs"]["set/2"]
    assert of_small["target_contrast"] is None
    assert of_small["checkerboard_8px_db"] is None
    assert content["comparisons"][0]["moved"] == {"target_contrast": 0.0, "background_gradient": 0.0}
    assert content["comparisons"][0]["holds"] is False
    assert report == tmp_path / "out" / "steering.md"
    lines = report.read_text().splitlines()
    # A bar in a text does not end the table's cell.
    assert sum(line.startswith("| bright | bright \\| targets |") for line in lines) == 1
    assert read_picture(tmp_path / "out" / "sheet.png").shape[1] == 5 * 320
    assert read_picture(tmp_path / "out" / "detail.png").shape == (24 + 2 * (24 + 320), 5 * 320)


def values(contrast: float, gradient: float) -> Steered:
    lines = {f"checkerboard_{period}px_db": 0.0 for period in (2, 4, 8)}
    row: dict[str, float | None] = {"target_contrast": contrast, "background_gradient": gradient, **lines}
    return Steered("x", "x", [], {"a": row, "b": dict.fromkeys(row)})


@pytest.mark.parametrize(
    ("bright", "dull", "measure", "holds"),
    [
        ((36.0, 10.0), (29.0, 9.0), "target_contrast", True),
        ((34.0, 10.0), (29.0, 9.0), "target_contrast", False),
        ((36.0, 11.0), (29.0, 9.0), "target_contrast", False),
        ((36.0, 7.0), (29.0, 9.0), "target_contrast", False),
        ((30.0, 15.0), (29.0, 9.0), "background_gradient", True),
        ((36.0, 15.0), (29.0, 9.0), "both", True),
        ((36.0, 10.0), (29.0, 9.0), "both", False),
    ],
)
def test_a_text_must_move_its_own_measure_and_no_other(
    bright: tuple[float, float], dull: tuple[float, float], measure: str, holds: bool
) -> None:
    by_label = {"bright": values(*bright), "dull": values(*dull)}
    verdict = judge(Comparison("bright", "dull", measure), by_label)
    assert verdict.holds is holds
    assert verdict.moved["target_contrast"] == pytest.approx(bright[0] / dull[0] - 1.0)
    assert ("yes" if holds else "no") in report_markdown(list(by_label.values()), [verdict], 2).splitlines()[
        -1
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a.safetensors"], "expected TEACHER=LABEL, a label without colon, got 'a.safetensors'"),
        (["a=x", "b=x"], "b=x: the label 'x' is taken"),
        (["a=published"], "the label 'published' is taken"),
        (["a=x", "--compare", "x:y"], "--compare: expected LABEL:OPPOSITE:MEASURE"),
        (["a=x", "--compare", "x:y:both"], "--compare: no teacher has the label 'y'; known: x"),
        (["a=x", "--rows", "0"], "--rows: expected 1 or more, got 0"),
        (["none.safetensors=x"], "none.safetensors: does not exist"),
    ],
)
def test_what_cannot_be_done_is_refused(arguments: list[str], expected: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=expected):
        steered(*arguments[:1], *arguments[1:], "--pairs", tmp_path, "-o", tmp_path / "out")
