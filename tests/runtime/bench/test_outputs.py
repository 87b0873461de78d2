"""Where `irvis bench` writes, and what it refuses to write over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from irvis_runtime.__main__ import main as irvis
from irvis_runtime.bench.command import default_output, parse_options
from irvis_runtime.bench.file import load_bench
from irvis_runtime.errors import ContractError
from irvis_runtime.shipped_models import shipped_model_dir

from .bench_pairs import write_pairs

QUICK = ["--precisions", "fp32", "--size", "64x48", "--repeats", "1", "--threads", "1", "--metrics", "EN"]


def test_pictures_may_be_named_by_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pairs(tmp_path / "pairs", 1)
    monkeypatch.chdir(tmp_path)
    pictures = tmp_path / "shown" / ".." / "seen"
    assert irvis(["bench", "--pairs", "pairs", "-o", "b.json", "--pictures", str(pictures), *QUICK]) == 0
    (shown,) = load_bench(Path("b.json")).pictures
    assert shown.files["fp32"] == "seen/01_fp32.png"
    assert Path(shown.files["fp32"]).is_file()


def test_names_may_be_any_bytes(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs", 1)
    odd = os.fsdecode(b"caf\xe9")
    for folder in ("ir", "vis"):
        (pairs / folder / "0.png").rename(pairs / folder / f"{odd}.png")
    output, page = tmp_path / f"{odd}.json", tmp_path / f"{odd}.html"
    bench = ["bench", "--pairs", str(pairs), "-o", str(output), *QUICK]
    for arguments in (bench, ["report", str(output), "-o", str(page)]):
        # In a process of its own: pytest's stdout takes what a terminal's does not.
        command = [sys.executable, "-m", "irvis_runtime", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
    assert load_bench(output).pairs[0].name == odd
    assert page.is_file()


def test_the_default_output_names_the_board(tmp_path: Path) -> None:
    assert default_output(tmp_path).parent == tmp_path / "bench"
    assert default_output(tmp_path).suffix == ".json"


@pytest.mark.parametrize("model", [None, Path("irvis-n"), shipped_model_dir("irvis-n")])
def test_a_shipped_model_is_measured_into_the_own_folder(model: Path | None) -> None:
    output = default_output(model)
    assert output.parent == Path("bench")
    assert output.name.startswith("irvis-s-" if model is None else "irvis-n-")


def test_the_default_output_goes_over_no_other(tmp_path: Path) -> None:
    first = default_output(tmp_path)
    first.parent.mkdir()
    first.touch()
    second = default_output(tmp_path)
    assert second == first.with_stem(f"{first.stem}-2")
    second.touch()
    assert default_output(tmp_path) == first.with_stem(f"{first.stem}-3")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "folder"], "it is a folder"),
        (["-o", "/dev/null"], "device"),
        (["-o", "notes/b.json"], "cannot write into notes"),
        (["-o", "/proc/irvis/b.json"], "cannot write into /proc/irvis"),
        (["-o", "b.json", "--pictures", "notes"], "expected a folder, got the file notes"),
    ],
)
def test_an_output_that_cannot_be_written_is_told_before_the_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("notes").touch()
    with pytest.raises(ContractError, match=message):
        parse_options(["--pairs", "pairs", *arguments])
    parse_options(["--pairs", "pairs", "-o", "new/b.json"])
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "notes"]
