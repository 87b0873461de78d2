"""Where install.sh refuses: with one line that says what was expected, and before anything is changed."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import CHANGING, JETSON, Board, Run

# L4T -> JetPack, from jetson-stats 7.2.2 (jtop/core/jetson_variables.py) and NVIDIA's release notes.
SUPPORTED = {
    ("36", "4.3"): "6.2",
    ("36", "4.4"): "6.2.1",
    ("36", "4.7"): "6.2.1",
    ("36", "5.0"): "6.2.2",
    ("36", "5.2"): "6.2.3",
    ("39", "2.0"): "7.2",
    ("39", "2.1"): "7.2.1",
    ("39", "2.2"): "7.2.2",
    # not in the table: point releases of a known branch
    ("36", "4.5"): "6.2.x",
    ("36", "4.10"): "6.2.x",
    ("36", "5.1"): "6.2.x",
    ("39", "2.7"): "7.2.x",
}
UNSUPPORTED = {
    ("32", "7.1"): "JetPack 5 or older",
    ("35", "4.1"): "JetPack 5 or older",
    ("36", "3.0"): "6.0, whose TensorRT 8.6 is too old",
    ("36", "4.0"): "JetPack 6.1; upgrade to 6.2",
    ("36", "6.0"): "got L4T 36.6.0",
    ("38", "2.0"): "for Thor alone",
    ("38", "4.0"): "for Thor alone",
    ("39", "0.0"): "early access",
    ("39", "20.0"): "got L4T 39.20.0",
    ("40", "1.0"): "got L4T 40.1.0",
}


def refused(board: Board, run: Run, *parts: str) -> None:
    """Checks that nothing was changed and that one line says why."""
    assert run.code == 2
    assert run.error.count("\n") == 1
    assert run.error.startswith("install.sh: error: ")
    for part in parts:
        assert part in run.error
    for changing in CHANGING:
        assert run.called(changing) == []
    assert not (board.root / "opt/irvis").exists()
    assert not (board.root / "etc/irvis").exists()


@pytest.mark.parametrize(("release", "jetpack"), SUPPORTED.items(), ids=str)
def test_supported_jetpack_is_named(board: Board, release: tuple[str, str], jetpack: str) -> None:
    board.set_release(*release)
    # The next check after the JetPack fails, which saves the rest of the run.
    board.set("python", "3.8")

    run = board.install()

    assert run.error.startswith("install.sh: error: expected Python 3.10 or later")
    assert f"    L4T {release[0]}.{release[1]} is JetPack {jetpack}\n" in run.out


@pytest.mark.parametrize(("release", "why"), UNSUPPORTED.items(), ids=str)
def test_other_jetpack_is_refused(board: Board, release: tuple[str, str], why: str) -> None:
    board.set_release(*release)

    refused(board, board.install(), why, "expected JetPack 6.2 or 7.2", f"{release[0]}.{release[1]}")


def test_no_jetson_is_refused(board: Board) -> None:
    (board.root / "etc/nv_tegra_release").unlink()

    refused(board, board.install(), "expected a Jetson, ", "nv_tegra_release is missing")


@pytest.mark.parametrize("text", ["", "R36\n", "# R36 (release), REVISION: , GCID: 1\n"])
def test_unreadable_release_is_refused(board: Board, text: str) -> None:
    (board.root / "etc/nv_tegra_release").write_text(text)

    refused(board, board.install(), "expected '# R36 (release), REVISION: 4.3, ...'")


def test_thor_is_refused(board: Board) -> None:
    compatible = board.root / "proc/device-tree/compatible"
    compatible.write_bytes(b"nvidia,p3971-0080+p3834-0008\0nvidia,tegra264\0")

    refused(board, board.install(), "expected a Jetson Orin (tegra234)", "tegra264")


def test_no_tensorrt_is_refused(board: Board) -> None:
    (board.state / "installed").write_text("")

    refused(board, board.install(), "expected TensorRT, apt knows no package python3-libnvinfer")


@pytest.mark.parametrize("version", ["8.6.2.3-1+cuda12.2", "10.2.0.19-1+cuda12.5", "unknown"])
def test_old_tensorrt_is_refused(board: Board, version: str) -> None:
    board.set("tensorrt", version)

    refused(board, board.install(), "expected TensorRT 10.3 or later", version)


def test_full_disk_is_refused(board: Board) -> None:
    board.set("free", "2047M")

    refused(board, board.install(), "expected 2048 MB free", "got 2047 MB")


def test_old_python_is_refused(board: Board) -> None:
    board.set("python", "3.8")

    refused(board, board.install(), "expected Python 3.10 or later, /usr/bin/python3 is 3.8")


def test_other_user_is_refused(board: Board) -> None:
    board.set("uid", "1000")

    refused(board, board.install(), "expected root", "sudo")


def _no_wheel(board: Board) -> list[str]:
    board.wheel.unlink()
    return []


def _two_wheels(board: Board) -> list[str]:
    (board.folder / "dist").mkdir()
    (board.folder / "dist/irvis_runtime-0.2.0-py3-none-any.whl").touch()
    return []


def _absent_wheel(board: Board) -> list[str]:
    return ["--wheel", "irvis_runtime-9-py3-none-any.whl"]


def _other_wheel(board: Board) -> list[str]:
    (board.folder / "numpy-2.0.0-py3-none-any.whl").touch()
    return ["--wheel", "numpy-2.0.0-py3-none-any.whl"]


def _absent_rig(board: Board) -> list[str]:
    return ["--rig", "absent.toml"]


def _no_model(board: Board) -> list[str]:
    (board.folder / "empty").mkdir()
    return ["--model", "empty"]


def _odd_model(board: Board) -> list[str]:
    (board.folder / "my model").mkdir()
    (board.folder / "my model/manifest.json").touch()
    return ["--model", "my model"]


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        (_no_wheel, "expected an irvis_runtime-*.whl, found none"),
        (_two_wheels, "expected one wheel, found 2: "),
        (_absent_wheel, "expected a file irvis_runtime-VERSION-py3-none-any.whl"),
        (_other_wheel, "expected a file irvis_runtime-VERSION-py3-none-any.whl"),
        (_absent_rig, "expected a file, absent.toml is none"),
        (_no_model, "empty/manifest.json is missing"),
        (_odd_model, "got 'my model'"),
    ],
)
def test_wrong_files_are_refused(board: Board, prepare: Callable[[Board], list[str]], why: str) -> None:
    refused(board, board.call(*prepare(board)), why)


def test_a_named_rig_that_differs_from_the_installed_one_is_refused(board: Board) -> None:
    board.install()
    before = board.tree()
    (board.folder / "mine.toml").write_text("# mine\n")

    run = board.install("--rig", "mine.toml")

    assert run.code == 2
    assert "exists and differs, and is never overwritten" in run.error
    assert board.tree() == before


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--frobnicate"], "unknown option '--frobnicate'"),
        (["--rig"], "expected a value behind --rig"),
        (["--rig", ""], "expected a value behind --rig"),
        (["--prefix", "opt"], "expected an absolute path"),
        (["--prefix", "/"], "expected an absolute path"),
        (["--prefix", "/opt/../etc"], "expected an absolute path"),
        (["--prefix", "/opt/irvis|s"], "expected an absolute path"),
        (["--prefix", "/opt/%h"], "expected an absolute path"),
        (["--prefix", "/home/me/irvis"], "hidden from the service"),
        (["--prefix", "/tmp"], "lost at a reboot"),
        (["--root", "absent"], "expected a directory, absent is none"),
        (["--root", "stubs"], "stubs/etc/nv_tegra_release is missing"),
        (["--start"], "leave out --no-service, --root"),
    ],
)
def test_wrong_arguments_are_refused(board: Board, arguments: list[str], why: str) -> None:
    refused(board, board.install(*arguments), why)


def test_a_second_run_at_the_same_time_is_refused(board: Board) -> None:
    held = os.open(board.root / "etc", os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        refused(board, board.install(), "another one is at work")
        assert board.install("--dry-run").code == 0
    finally:
        os.close(held)


def test_the_root_of_this_machine_is_no_jetson() -> None:
    """The whole check with nothing faked; on a Jetson this machine is one, and the test says nothing."""
    if Path("/etc/nv_tegra_release").exists():
        pytest.skip("this machine is a Jetson")
    command = ["bash", str(JETSON / "install.sh"), "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("install.sh: error: expected a Jetson, /etc/nv_tegra_release is missing")


def test_help_names_every_option() -> None:
    command = ["bash", str(JETSON / "install.sh"), "--help"]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    source = (JETSON / "install.sh").read_text()
    arms = re.findall(r"^ +(--[^)\n]*)\)", source, re.MULTILINE)
    options = {option for arm in arms for option in re.findall(r"--[a-z-]+", arm)}
    assert {"--wheel", "--dry-run", "--uninstall"} <= options
    assert [option for option in sorted(options) if option not in text] == []
