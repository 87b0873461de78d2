"""`irvis live` on wrong rigs and arguments: one line on stderr, exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from irvis_runtime.__main__ import main as irvis

from .live_rigs import rig_text

pytestmark = pytest.mark.usefixtures("gstreamer")


@pytest.mark.parametrize(
    ("text", "arguments", "error"),
    [
        (rig_text("v4l3:///dev/video0"), [], "unknown source 'v4l3'; did you mean 'v4l2'?"),
        (rig_text("csi://0"), [], "csi://0: csi:// needs a Jetson"),
        (rig_text(infrared="test://?fsp=30"), [], "unknown key 'fsp'; did you mean 'fps'?"),
        (rig_text(outputs=("file://old.mkv",)), [], "file://old.mkv: exists"),
        (rig_text(outputs=("disply://",)), [], "unknown sink 'disply'; did you mean 'display'"),
        (rig_text(outputs=()), [], "missing key 'output'"),
        (
            rig_text(more="[registration]\nhomography = [[0,0,0],[0,0,0],[0,0,1]]"),
            [],
            "invertible 3x3 matrix",
        ),
        (rig_text(), ["--seconds", "0"], "--seconds: expected a number above 0, got 0.0"),
        (rig_text(), ["--seconds", "soon"], "invalid float value"),
        (rig_text(), ["--model", "nowhere"], "nowhere"),
        (rig_text(), ["--precision", "int3"], "int3"),
        (rig_text(), ["limits.max_skew=1"], "did you mean 'max_skew_ms'?"),
        (rig_text(), ["--status", "rig.toml/status.json"], "rig.toml"),
    ],
)
def test_a_wrong_rig_or_argument_is_one_line_and_exit_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    arguments: list[str],
    error: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.mkv").touch()
    (tmp_path / "rig.toml").write_text(text)
    assert irvis(["live", "rig.toml", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("irvis: error: ")
    assert error in captured.err
