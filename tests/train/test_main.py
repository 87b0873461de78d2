from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path

import pytest
import torch

from irvis_runtime.__main__ import main
from irvis_train.config import DistillConfig
from irvis_train.ldfusion import LdFusion
from irvis_train.student_files import load_student
from irvis_train.teacher import load_teacher

Run = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs `irvis train` and returns its exit code, its output and its error lines, progress left out."""

    def run_train(*arguments: object) -> tuple[int, str, list[str]]:
        code = main(["train", *map(str, arguments)])
        out, err = capfd.readouterr()
        progress = ("training ", "reading and labelling ")
        return code, out, [line for line in err.splitlines() if not line.startswith(progress)]

    return run_train


def test_help_names_the_sub_commands(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as info:
        main(["train", "--help"])
    assert info.value.code == 0
    out = capfd.readouterr().out
    assert out.startswith("usage: irvis train")
    assert "student" in out
    assert "convert" in out


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_student_help_lists_the_fields(option: str, run: Run) -> None:
    code, out, errors = run("student", option)
    assert (code, errors) == (0, [])
    assert out.startswith("usage: irvis train student [CONFIG.toml] [key=value ...]")
    assert "learning_rate: float = 0.002" in out
    assert "student.deep_channels: int = 64" in out
    assert "student.ends: " in out


def test_convert_writes_a_teacher_and_says_where(teacher: LdFusion, tmp_path: Path, run: Run) -> None:
    torch.save(teacher.state_dict(), tmp_path / "final.pt")
    output = tmp_path / "teacher.safetensors"
    assert run("convert", tmp_path / "final.pt", "-o", output) == (0, f"{output}\n", [])
    assert isinstance(load_teacher(output), LdFusion)


def test_student_trains_from_arguments_alone(
    make_config: Callable[..., DistillConfig], tmp_path: Path, run: Run
) -> None:
    config = make_config(tmp_path / "run", steps=2)
    overrides = [
        f"{key}={json.dumps(list(value) if isinstance(value, tuple) else value)}"
        for key, value in vars(config).items()
        if not is_dataclass(value)
    ]
    shape = [
        "student.front_channels=16",
        "student.deep_channels=32",
        "student.lift_channels=16",
        "student.back_channels=32",
        "student.scene_channels=16",
    ]
    code, out, errors = run("student", *overrides, *shape)
    assert (code, errors) == (0, [])
    model_dir = Path(out.strip())
    assert model_dir == tmp_path / "run" / "tiny"
    assert load_student(model_dir).shape.back_channels == 32


def test_every_error_is_one_line_and_exit_code_2(tmp_path: Path, run: Run) -> None:
    (tmp_path / "broken.toml").write_text("steps = \n")
    (tmp_path / "typo.toml").write_text("step = 3\n")
    (tmp_path / "text.pt").write_text("no weights")
    (tmp_path / "whole.toml").write_text('teacher = "none.pt"\npairs = ["a"]\nval_pairs = ["b"]\n')
    output = f"output={tmp_path / 'run'}"
    cases: list[tuple[list[object], str]] = [
        ([], "required: clip|teacher|student|steer|convert"),
        (["teachers"], "invalid choice: 'teachers'"),
        (["student"], "missing key 'teacher'"),
        (["student", tmp_path / "none.toml"], "none.toml: cannot be read"),
        (["student", tmp_path / "broken.toml"], "broken.toml: not TOML"),
        (["student", tmp_path / "typo.toml"], "unknown key 'step'; did you mean 'steps'?"),
        (["student", tmp_path / "whole.toml", output], "none.pt: does not exist; expected a teacher"),
        (["student", tmp_path / "whole.toml", output, "steps"], "expected key=value, got 'steps'"),
        (["student", tmp_path / "whole.toml", output, "steps=few"], "steps: expected an integer, got 'few'"),
        (["student", tmp_path / "whole.toml", output, "device=cuda:99"], "device: expected one of auto, cpu"),
        (["student", tmp_path / "whole.toml", f"output={tmp_path / 'text.pt'}"], "text.pt"),
        (["convert"], "required: checkpoint, -o/--output"),
        (["convert", tmp_path / "text.pt"], "required: -o/--output"),
        (
            ["convert", tmp_path / "text.pt", "-o", tmp_path / "a.safetensors"],
            "not a whole PyTorch weights file",
        ),
        (["convert", tmp_path / "none.pt", "-o", tmp_path / "a.safetensors"], "none.pt: does not exist"),
        (["convert", tmp_path / "text.pt", "-o", tmp_path / "a.pt"], "a name that ends in .safetensors"),
    ]
    for arguments, expected in cases:
        code, out, errors = run(*arguments)
        assert (code, out, len(errors)) == (2, "", 1), (arguments, errors)
        assert errors[0].startswith("irvis: error: ")
        assert expected in errors[0]
    assert not (tmp_path / "a.safetensors").exists()
