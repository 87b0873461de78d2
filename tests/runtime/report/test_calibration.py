from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from irvis_runtime import default_model_dir
from irvis_runtime.bench.file import FidelitySummary, PictureSet
from irvis_runtime.errors import ContractError
from irvis_runtime.image import write_picture
from irvis_runtime.model_files.calibration_file import (
    CALIBRATION_SCHEMA,
    CalibrationFile,
    LayerChoice,
    Levels,
    PrecisionChoice,
    WorstPixel,
    calibration_to_json,
    load_calibration,
)
from irvis_runtime.report.calibration import choices_text, files_table, find_calibrations, layer_tables
from irvis_runtime.report.command import write_report

NEAR = FidelitySummary(30.5, 28.0, "town/1", 0.95, 0.9, 40, 9, 2, 0)
AGREEING = FidelitySummary(46.0, 44.0, "town/1", 0.99, 0.98, 12, 2, 2, 0)
LAYERS = (
    LayerChoice("first", "bytes", "fp32", 0.05, 50.0),
    LayerChoice("second", "features", "int8", 0.01, 60.0),
)
INT8 = PrecisionChoice(
    sha256="0" * 64,
    failures=(),
    to_teacher=replace(NEAR, psnr_db_mean=30.4),
    to_fp32=AGREEING,
    worst_pixel=WorstPixel("town/1", 7, 5, 120, 132),
    moved=("first",),
    layers=LAYERS,
    levels=(Levels("bytes", -6.0, 6.0, 0.047, 127, 0.0), Levels("features", 0.0, 12.5, 0.049, 0, 0.0125)),
)
FP16 = replace(INT8, moved=(), layers=(), levels=())
PICTURES = PictureSet(
    "town/1",
    "the pair held out that int8 changed most",
    {"fp32": "calibration/int8_fp32.png", "difference": "calibration/int8_difference.png"},
    "int8 - fp32",
    8,
)
FOUND = CalibrationFile(
    schema=CALIBRATION_SCHEMA,
    command="irvis quantize model --pairs pairs --teacher teacher.onnx",
    method="descent",
    weights="compensated",
    equalized="across sums",
    equalized_agreement_db={"none": 46.0, "across sums": 47.0},
    unit="grey levels squared",
    held_out_error={"minmax": 60.0, "descent": 58.0},
    calibration_pairs=("town/2",),
    held_out_pairs=("town/1", "town/3"),
    fp32_to_teacher=NEAR,
    precisions={"int8": INT8, "fp16": FP16, "int8-trt": replace(INT8, failures=("too far",), sha256=None)},
    pictures=(PICTURES,),
    descent=({"tensor": "bytes", "error_before": 60.0},),
)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(calibration_to_json(FOUND))
    assert load_calibration(path) == FOUND


def test_an_older_file_and_a_wrong_field_are_named(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text('{"method": "descent"}')
    with pytest.raises(ContractError, match="schema: expected 3, which this version of irvis reads"):
        load_calibration(path)
    path.write_text(calibration_to_json(FOUND).replace('"zero_point": 127', '"zero_point": "x"'))
    with pytest.raises(ContractError, match="zero_point: expected an integer"):
        load_calibration(path)


def test_the_files_table_tells_what_each_lost_and_why_it_was_refused() -> None:
    table = files_table(FOUND)
    rows = {row[0].text: [cell.text for cell in row] for row in table.rows}
    assert rows["INT8"][1:3] == ["30.40", "0.100"]
    assert "120 became 132 at 5, 7 of town/1" in rows["INT8"]
    assert rows["INT8"][-2:] == ["1", "passed"]
    assert rows["INT8 for TensorRT"][-1] == "too far"
    assert all(len(row) == len(table.head) for row in table.rows)


def test_what_the_run_chose_is_told_with_its_figures() -> None:
    assert choices_text(FOUND) == (
        "Ranges by descent (error on the pairs held out: minmax 60.00; descent 58.00). "
        "Channels equalized: across sums (to FP32, calibration pairs: none 46.00 dB; across sums 47.00 dB). "
        "Weights rounded: compensated."
    )
    without_int8 = replace(FOUND, method=None, equalized=None, held_out_error={}, equalized_agreement_db={})
    assert choices_text(without_int8) == ""


def test_layers_of_two_files_with_the_same_levels_are_shown_once() -> None:
    ((heading, table, bars),) = layer_tables(FOUND)
    assert heading == "Layers of INT8 and INT8 for TensorRT"
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["first", "FP32", "0.050", "50.0", "-6 to 6", "0.047", "127", "0.000%"],
        ["second", "INT8", "0.010", "60.0", "0 to 12.5", "0.049", "0", "1.250%"],
    ]
    # 255^2 / 10^5 and a tenth of it: the second bar is a tenth as long.
    assert "0.650" in bars
    assert 'width="1000.0"' in bars
    assert 'width="100.0"' in bars


def test_the_page_shows_the_worst_scene_amplified(tmp_path: Path) -> None:
    """Beside a shipped bench."""
    (bench, *_) = sorted((default_model_dir() / "bench").glob("*.json"))
    path = tmp_path / "calibration.json"
    path.write_text(calibration_to_json(FOUND))
    for name in PICTURES.files.values():
        write_picture(tmp_path / name, np.full((8, 8), 128, np.uint8))
    html, markdown = write_report([bench], tmp_path / "report.html", "irvis report", [path])[:2]
    page = html.read_text()
    section = page[page.index("What quantization chose") :]
    assert section.count("data:image/jpeg;base64,") == 2
    assert "INT8 minus FP32, 8" in section
    assert choices_text(FOUND) in section
    text = markdown.read_text()
    assert "(calibration/int8_difference.png)" in text
    assert "| first | FP32 | 0.050 |" in text


def test_one_named_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="expected a calibration"):
        find_calibrations([], [tmp_path / "no.json"])
