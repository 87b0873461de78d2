from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from irvis_runtime.__main__ import main
from irvis_runtime.fuser import Fuser
from irvis_runtime.image import join_colour, read_infrared, read_picture, read_visible

from .fuse_pictures import files_below, make, scene

Run = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def infrared(tmp_path: Path) -> Path:
    return make(tmp_path / "in" / "ir" / "a.png", scene(channels=1, seed=1))


@pytest.fixture
def visible(tmp_path: Path) -> Path:
    return make(tmp_path / "in" / "vis" / "a.png", scene(seed=2))


def test_verbose_says_first_what_fuses_and_why(
    tmp_path: Path, run: Run, infrared: Path, visible: Path
) -> None:
    record = tmp_path / "fuse.json"
    out = tmp_path / "fused.png"
    options = ("-o", out, "--json", record, "--backend", "onnxruntime", "--precision", "fp32", "-v")
    code, lines = run(infrared, visible, *options)
    assert code == 0
    version = json.loads(record.read_text())["versions"]["onnxruntime"]
    cores = len(os.sched_getaffinity(0))
    threads = f"{cores} thread{'s' if cores > 1 else ''}"
    assert lines == [f"irvis fuse: onnxruntime {version}, fp32, {threads}: as asked"]
    assert json.loads(record.read_text())["reason"] == "as asked"


def test_a_picture_is_fused_and_keeps_its_colour(
    tmp_path: Path, run: Run, infrared: Path, visible: Path
) -> None:
    assert run(infrared, visible, "-o", tmp_path / "out" / "fused.png") == (0, [])
    opened = read_visible(visible)
    with Fuser() as fuser:
        fused_hw = fuser.fuse(read_infrared(infrared), opened.luma_hw)
    np.testing.assert_array_equal(read_picture(tmp_path / "out" / "fused.png"), join_colour(fused_hw, opened))
    assert files_below(tmp_path / "out") == ["fused.png"]


@pytest.mark.parametrize("is_gray", [False, True])
def test_gray_is_the_fused_luma(
    tmp_path: Path, run: Run, infrared: Path, visible: Path, is_gray: bool
) -> None:
    options = ["--gray"] if is_gray else []
    assert run(infrared, visible, "-o", tmp_path / "fused.png", *options)[0] == 0
    assert read_picture(tmp_path / "fused.png").ndim == (2 if is_gray else 3)


def test_a_grey_visible_picture_gives_a_grey_one(tmp_path: Path, run: Run, infrared: Path) -> None:
    assert run(infrared, infrared, "-o", tmp_path / "fused.png")[0] == 0
    assert read_picture(tmp_path / "fused.png").ndim == 2


def test_into_a_folder_under_the_visible_name(tmp_path: Path, run: Run, infrared: Path) -> None:
    visible = make(tmp_path / "b.jpg", scene())
    (tmp_path / "out").mkdir()
    assert run(infrared, visible, "-o", tmp_path / "out")[0] == 0
    assert files_below(tmp_path / "out") == ["b.png"]


def test_16_bits_in_8_bits_out(tmp_path: Path, run: Run) -> None:
    infrared = make(tmp_path / "ir.tif", scene(channels=1).astype(np.uint16) * 20 + 7000)
    visible = make(tmp_path / "vis.png", scene().astype(np.uint16) * 257)
    assert run(infrared, visible, "-o", tmp_path / "fused.tif") == (0, [])
    assert read_picture(tmp_path / "fused.tif").dtype == np.uint8


def test_other_sizes_are_resized_with_a_notice(tmp_path: Path, run: Run, visible: Path) -> None:
    infrared = make(tmp_path / "small.png", scene(24, 32, 1))
    code, lines = run(infrared, visible, "-o", tmp_path / "fused.png")
    assert code == 0
    assert lines == [
        "irvis fuse: 1 of 1 infrared inputs had another size and were resized onto the visible ones"
    ]
    assert read_picture(tmp_path / "fused.png").shape == (48, 64, 3)


def test_the_record_says_what_was_done(tmp_path: Path, run: Run, infrared: Path, visible: Path) -> None:
    output = tmp_path / "fused.png"
    assert run(infrared, visible, "-o", output, "--json", tmp_path / "fuse.json") == (0, [])
    record = json.loads((tmp_path / "fuse.json").read_text())
    (entry,) = record["pictures"]
    assert entry.pop("fuse_ms") > 0
    assert entry == {
        "name": "a",
        "infrared": str(infrared),
        "visible": str(visible),
        "output": str(output),
        "width": 64,
        "height": 48,
        "infrared_bits": 8,
        "infrared_resized": False,
    }
    assert (record["failed"], record["unpaired"]) == ([], [])
    assert record["precision"] in ("fp32", "fp16", "int8", "int8-trt", "int8-fp16-trt")
    assert record["made"].endswith("+00:00")


# What is refused before any work

INPUTS_KEPT: dict[str, tuple[Callable[[Path], list[object]], str]] = {
    "mixed kinds": (lambda d: [d / "in/ir", d / "in/vis/a.png", "-o", d / "o.png"], "two of a kind"),
    "video and picture": (lambda d: [d / "in/v.mp4", d / "in/vis/a.png", "-o", d / "o.png"], "two of a kind"),
    "missing input": (lambda d: [d / "in/ir/b.png", d / "in/vis/a.png", "-o", d / "o.png"], "found nothing"),
    "unknown suffix": (lambda d: [d / "in/ir/a.png", d / "in/vis/a.png", "-o", d / "o.bmp"], "as .bmp"),
    "no suffix": (lambda d: [d / "in/ir/a.png", d / "in/vis/a.png", "-o", d / "o"], "without suffix"),
    "picture as video": (lambda d: [d / "in/v.mp4", d / "in/v.mp4", "-o", d / "o.png"], "as .png"),
    "folder as picture": (lambda d: [d / "in/ir", d / "in/vis", "-o", d / "o.png"], "name a folder"),
    "folder as file": (lambda d: [d / "in/ir", d / "in/vis", "-o", d / "in/notes"], "name a folder"),
    "output is infrared": (
        lambda d: [d / "in/ir/a.png", d / "in/vis/a.png", "-o", d / "in/ir/../ir/a.png"],
        "would be overwritten",
    ),
    "output is visible": (
        lambda d: [d / "in/ir/a.png", d / "in/vis/a.png", "-o", d / "in/vis"],
        "would be overwritten",
    ),
    "output is a link to an input": (
        lambda d: [d / "in/ir/a.png", d / "in/vis/a.png", "-o", d / "in/link.png"],
        "would be overwritten",
    ),
    "output folder is an input": (
        lambda d: [d / "in/ir", d / "in/vis", "-o", d / "in/vis"],
        "would be overwritten",
    ),
    "record is an input": (
        lambda d: [d / "in/ir/a.png", d / "in/vis/a.png", "-o", d / "o.png", "--json", d / "in/ir/a.png"],
        "would be overwritten",
    ),
    "record is the output": (
        lambda d: [d / "in/ir/a.png", d / "in/vis/a.png", "-o", d / "o.png", "--json", d / "o.png"],
        "name two files",
    ),
    "record is a device": (
        lambda d: [d / "in/ir/a.png", d / "in/vis/a.png", "-o", d / "o.png", "--json", "/dev/null"],
        "device",
    ),
    "output is a folder": (
        lambda d: [d / "in/ir/a.png", d / "in/ir/a.png", "-o", d / "in/folder"],
        "it is a folder",
    ),
    "no output": (lambda d: [d / "in/ir/a.png", d / "in/vis/a.png"], "required"),
    "unknown precision": (
        lambda d: [d / "in/ir/a.png", d / "in/vis/a.png", "-o", d / "o.png", "--precision", "fp8"],
        "invalid choice",
    ),
    "no such model": (
        lambda d: [d / "in/ir/a.png", d / "in/vis/a.png", "-o", d / "o.png", "--model", d / "no"],
        "model directory",
    ),
    "no common names": (lambda d: [d / "in/ir", d / "in/others", "-o", d / "o"], "no file name in common"),
    "cut picture": (lambda d: [d / "in/cut.png", d / "in/vis/a.png", "-o", d / "o.png"], "cut or damaged"),
    "text as picture": (lambda d: [d / "in/text.png", d / "in/vis/a.png", "-o", d / "o.png"], "starts with"),
    "empty picture": (lambda d: [d / "in/empty.png", d / "in/vis/a.png", "-o", d / "o.png"], "empty"),
    "tiny picture": (lambda d: [d / "in/tiny.png", d / "in/vis/a.png", "-o", d / "o.png"], "16 x 16"),
    "no video": (lambda d: [d / "in/v.mp4", d / "in/v.mp4", "-o", d / "o.mp4"], "no frame"),
    "unwritable": (
        lambda d: [d / "in/ir/a.png", d / "in/vis/a.png", "-o", d / "in/notes/o.png"],
        "cannot write",
    ),
    "folder unwritable": (lambda d: [d / "in/ir", d / "in/vis", "-o", "/proc/irvis"], "cannot write"),
}


@pytest.mark.parametrize("kind", INPUTS_KEPT)
@pytest.mark.usefixtures("infrared", "visible")
def test_refused_in_one_line_and_nothing_left(tmp_path: Path, run: Run, kind: str) -> None:
    inputs = tmp_path / "in"
    (inputs / "notes").write_text("notes")
    (inputs / "text.png").write_text("text")
    (inputs / "empty.png").write_bytes(b"")
    (inputs / "v.mp4").write_bytes(b"no video")
    (inputs / "cut.png").write_bytes((inputs / "ir" / "a.png").read_bytes()[:-20])
    (inputs / "link.png").symlink_to(inputs / "vis" / "a.png")
    (inputs / "folder" / "a.png").mkdir(parents=True)
    make(inputs / "tiny.png", scene(15, 16, 1))
    make(inputs / "others" / "b.png", scene())
    before = {path: path.read_bytes() for path in inputs.rglob("*") if path.is_file()}
    files = files_below(tmp_path)
    arguments, why = INPUTS_KEPT[kind]
    code, lines = run(*arguments(tmp_path))
    assert (code, len(lines)) == (2, 1)
    assert lines[0].startswith("irvis: error: ")
    assert why in lines[0]
    assert files_below(tmp_path) == files
    assert {path: path.read_bytes() for path in inputs.rglob("*") if path.is_file()} == before


def test_help_names_what_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["fuse", "--help"])
    assert left.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for promise in ("result has 8 bits", "Sound is not carried over", "EXIF orientation is not applied"):
        assert promise in text


def irvis_with_limit(limit_bytes: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`irvis fuse` in a process that may write no longer files, which stands for a full disk."""
    return subprocess.run(
        [sys.executable, "-m", "irvis_runtime", "fuse", *map(str, arguments)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes)),
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, infrared: Path, visible: Path) -> None:
    for output in (tmp_path / "out" / "fused.png", tmp_path / "folder"):
        is_folder = output.suffix == ""
        given = (infrared.parent, visible.parent) if is_folder else (infrared, visible)
        done = irvis_with_limit(2000, *given, "-o", output)
        errors = [line for line in done.stderr.splitlines() if not line.startswith("fusing")]
        assert (done.returncode, len(errors)) == (2, 1), done.stderr
        assert "cannot write" in errors[0]
        assert "free some space" in errors[0]
        assert files_below(output if is_folder else output.parent) == []
