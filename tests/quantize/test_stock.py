from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto

from irvis_quantize import stock
from irvis_quantize.examples import Example, split
from irvis_quantize.int8 import quantize
from irvis_quantize.ranges import choose_ranges
from irvis_runtime.__main__ import main as irvis


@pytest.mark.slow
def test_the_stock_quantizer_takes_the_same_convolutions(tiny: ModelProto, examples: list[Example]) -> None:
    calibration, held_out = split(examples)
    choice = choose_ranges(tiny, calibration, held_out, {}, [])
    own = quantize(tiny, choice.ranges, choice.rounded)
    rows = stock.compare(tiny, own, calibration, held_out)
    assert list(rows) == ["FP32", "irvis", *stock.METHODS]
    assert rows["FP32"]["max_lsb"] == 0
    for name, row in rows.items():
        assert row["ms"] > 0.0
        assert name == "FP32" or 15.0 < row["agreement_psnr_db"] < 100.0
    # Otherwise the comparison would be with itself.
    assert len({row["agreement_psnr_db"] for row in rows.values()}) >= 4
    made = stock.quantize_by_stock(tiny, "MinMax", calibration)
    levels = [node for node in made.graph.node if node.op_type == "DequantizeLinear"]
    assert len(levels) > len([node for node in own.graph.node if node.op_type == "QLinearConv"])


def test_the_table_has_a_line_for_each() -> None:
    row = {
        "teacher_psnr_db": 27.004,
        "agreement_psnr_db": 45.26,
        "worst_agreement_psnr_db": 43.0,
        "ms": 12.34,
    }
    text = stock.table({"FP32": row, "irvis": row})
    assert text.splitlines()[2:] == [
        "| FP32 | 27.00 |  |  | 12.3 |",
        "| irvis | 27.00 | 45.3 | 43.0 | 12.3 |",
    ]


@pytest.mark.slow
def test_the_command_prints_and_writes_the_comparison(
    model_dir: Path, pairs_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["quantize", str(model_dir), "--pairs", str(pairs_dir), "--teacher", str(model_dir)]
    told = tmp_path / "told.json"
    lenient = ["--max-drop-db", "60", "--min-mean-agreement-db", "10", "--min-agreement-db", "10"]
    assert irvis([*arguments, "--count", "6", *lenient, "--compare", "--json", str(told)]) == 0
    printed = capsys.readouterr().out
    assert "| Percentile |" in printed
    comparison = json.loads(told.read_text())["comparison"]
    assert set(comparison) == {"FP32", "irvis", *stock.METHODS}
    assert all(np.isfinite(row["teacher_psnr_db"]) for row in comparison.values())
    # Again, of the file that is there: the same but for the times, and no file made.
    before = {path.name: path.read_bytes() for path in model_dir.iterdir()}
    assert irvis([*arguments, "--count", "6", "--compare-only", "--json", str(told)]) == 0
    again = json.loads(told.read_text())
    assert again["command"].startswith("irvis quantize ")
    for name, row in comparison.items():
        assert {**again["comparison"][name], "ms": 0.0} == {**row, "ms": 0.0}
    assert {path.name: path.read_bytes() for path in model_dir.iterdir()} == before
