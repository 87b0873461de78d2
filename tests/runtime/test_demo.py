"""The demo: refuses folders that are not its own; the road itself is walked by the slow test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from irvis_runtime.__main__ import main
from irvis_runtime.demo import MARKER


def test_a_folder_of_the_users_is_never_cleared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "precious.txt").write_text("kept")
    assert main(["demo", "--quick", "-o", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_a_file_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "file"
    path.write_text("kept")
    assert main(["demo", "--quick", "-o", str(path)]) == 2
    assert path.read_text() == "kept"
    assert "expected a folder" in capsys.readouterr().err


@pytest.mark.slow
def test_the_whole_road(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    assert main(["demo", "--quick", "-o", str(output)]) == 0
    last_line = capsys.readouterr().out.splitlines()[-1]
    assert Path(last_line) == output / "report.html"
    assert "<html" in Path(last_line).read_text()
    manifest = json.loads((output / "run" / "irvis-demo" / "manifest.json").read_text())
    assert set(manifest["files"]) == {"fp32", "fp16", "int8"}
    assert (output / "fused.mp4").stat().st_size > 0
    assert (output / MARKER).exists()
    # A second run takes the folder over, whatever lies in it from the first.
    assert main(["demo", "--quick", "--seed", "8", "-o", str(output)]) == 0
