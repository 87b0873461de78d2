from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import numpy
import pytest

import irvis_runtime
from irvis_runtime import BackendError, ContractError
from irvis_runtime import __main__ as dispatcher
from irvis_runtime.__main__ import RUNTIME_COMMANDS, WORKBENCH_COMMANDS, main
from irvis_runtime.image import write_picture

ROOT = Path(__file__).parents[2]


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """The modules of a board: numpy alone, beside which the runtime is put."""
    site = tmp_path / "site"
    site.mkdir()
    installed = Path(numpy.__file__).parent
    for package in (installed, installed.parent / "numpy.libs"):
        if package.exists():
            (site / package.name).symlink_to(package)
    return site


def on_board(paths: Sequence[Path], *words: str) -> subprocess.CompletedProcess[str]:
    """Runs irvis where nothing can be imported but the standard library and what lies in `paths`."""
    code = "import sys; sys.path[:0] = sys.argv[1].split(':'); sys.argv[:] = sys.argv[1:]; "
    code += "from irvis_runtime.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-I", "-S", "-c", code, ":".join(map(str, paths)), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def irvis_into(stdout: int | IO[bytes], *words: str) -> tuple[int, str]:
    """Runs irvis with that stdout; its exit code and what it says on stderr."""
    command = [sys.executable, "-m", "irvis_runtime", *words]
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("word", ["-h", "--help", "help"])
def test_help_lists_every_command(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: irvis COMMAND ...")
    for name in (*RUNTIME_COMMANDS, *WORKBENCH_COMMANDS):
        assert f"\n  {name} " in text
    assert max(map(len, text.splitlines())) <= 80


def test_no_command_shows_the_same_but_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().out.startswith("usage: irvis COMMAND ...")


@pytest.mark.parametrize("word", ["-V", "--version"])
def test_version(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 0
    assert capsys.readouterr().out == f"irvis {irvis_runtime.__version__}\n"


@pytest.mark.parametrize("word", ["fly", "--frobnicate", "", "Fuse"])
def test_unknown_command_names_those_that_are(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 2
    text = capsys.readouterr().err
    assert text.startswith(f"irvis: error: no sub-command {word!r}; expected one of: fuse, live, calibrate")
    assert text.count("\n") == 1


@pytest.mark.parametrize("name", [*RUNTIME_COMMANDS, *WORKBENCH_COMMANDS])
def test_every_command_has_a_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: irvis {name} ")


@pytest.mark.parametrize("name", [*RUNTIME_COMMANDS, *WORKBENCH_COMMANDS])
def test_every_command_refuses_an_unknown_option_in_one_line(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--frobnicate"]) == 2
    text = capsys.readouterr().err
    assert text.startswith(f"irvis: error: irvis {name}")
    assert text.count("\n") == 1
    assert "tells more" in text


def failing(error: BaseException) -> Callable[[Sequence[str]], int]:
    def command(argv: Sequence[str]) -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (
            ContractError("x.png: expected a,\n  got b; do c"),
            2,
            "irvis: error: x.png: expected a, got b; do c\n",
        ),
        (BackendError("TensorRT failed"), 2, "irvis: error: TensorRT failed\n"),
        (
            FileNotFoundError(2, "No such file or directory", "in.png"),
            2,
            "irvis: error: in.png: No such file or directory; "
            "check the path, its permissions and the free space\n",
        ),
        (OSError("odd"), 2, "irvis: error: odd; check the path, its permissions and the free space\n"),
        (MemoryError(), 2, "irvis: error: out of memory; use smaller pictures or close other programs\n"),
        (KeyboardInterrupt(), 130, "\nirvis: interrupted\n"),
    ],
)
def test_expected_failures_are_one_line(
    error: BaseException,
    code: int,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(dispatcher, "find_command", lambda name: failing(error))
    assert main(["fuse"]) == code
    assert capsys.readouterr() == ("", expected)


def test_a_defect_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "find_command", lambda name: failing(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["fuse"])


def test_exit_code_of_a_command_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "find_command", lambda name: lambda argv: len(argv))
    assert main(["quantize"]) == 0
    assert main(["quantize", "x"]) == 1


@pytest.mark.parametrize("name", WORKBENCH_COMMANDS)
def test_workbench_commands_say_where_they_live(name: str, board: Path) -> None:
    done = on_board([ROOT / "runtime", board], name, "anything")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"irvis: error: `irvis {name}` is part of the workbench and this is the device's runtime alone; "
        "run it in a clone of irvis after `make install`\n"
    )


def test_a_board_has_help_and_version(board: Path) -> None:
    done = on_board([ROOT / "runtime", board], "--version")
    assert (done.returncode, done.stdout) == (0, f"irvis {irvis_runtime.__version__}\n")
    assert on_board([ROOT / "runtime", board], "--help").stderr == ""


def test_a_board_without_a_backend_says_what_to_install(board: Path, tmp_path: Path) -> None:
    picture, output = tmp_path / "a.png", tmp_path / "c.png"
    write_picture(picture, numpy.zeros((20, 20), numpy.uint8))
    done = on_board([ROOT / "runtime", board], "fuse", str(picture), str(picture), "-o", str(output))
    assert done.returncode == 2
    assert done.stderr.startswith("irvis: error: ONNX Runtime is missing")
    assert "install it with `pip install onnxruntime`" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not output.exists()


def test_a_workbench_without_its_packages_names_the_missing_one(board: Path, tmp_path: Path) -> None:
    """The entry point is there, torch is not."""
    metadata = tmp_path / "irvis-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: irvis\nVersion: 0\n")
    (metadata / "entry_points.txt").write_text("[irvis.commands]\nexport = irvis_export.__main__:main\n")
    paths = [tmp_path, ROOT / "runtime", ROOT / "export", ROOT / "train", board]
    done = on_board(paths, "export", "model")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "`irvis export` needs the Python package " in done.stderr
    assert "run `make install` in a clone of irvis" in done.stderr


def test_a_closed_pipe_is_quiet() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    found = irvis_into(writing, "--help")
    os.close(writing)
    assert found == (141, "")


def test_a_full_disk_behind_stdout_is_one_line() -> None:
    with open("/dev/full", "wb") as full:
        code, errors = irvis_into(full, "--version")
    assert code == 2
    assert errors.count("\n") == 1
    assert "No space left on device" in errors


def test_an_error_that_cannot_be_told_has_its_exit_code() -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "irvis_runtime", "fly"]
        done = subprocess.run(command, stderr=full, timeout=60, check=False)
    assert done.returncode == 2


WRITING = """
import sys, time
from pathlib import Path
from irvis_runtime import __main__ as dispatcher
from irvis_runtime.atomic import replacing
def command(argv):
    with replacing(Path(argv[0])) as temporary:
        temporary.write_text("half")
        while not Path(argv[1]).exists():
            time.sleep(0.02)
    return 0
dispatcher.find_command = lambda name: command
sys.exit(dispatcher.main(["fuse", *sys.argv[1:]]))
"""


def start_writing(folder: Path, go_on: Path, hang_up: signal.Handlers) -> subprocess.Popen[str]:
    """A command that has half of its output written until `go_on` appears."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITING, str(folder / "out.txt"), str(go_on)],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, hang_up),
    )
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in folder.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_kill_leaves_nothing_half_written(number: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    process = start_writing(folder, tmp_path / "go on", signal.SIG_DFL)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "\nirvis: interrupted\n")
    assert list(folder.iterdir()) == []


def test_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    process = start_writing(folder, tmp_path / "go on", signal.SIG_IGN)
    process.send_signal(signal.SIGHUP)
    (tmp_path / "go on").touch()
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert (folder / "out.txt").read_text() == "half"
