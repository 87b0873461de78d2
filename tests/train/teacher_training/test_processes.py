"""A run that is killed, and a run of two processes: the teacher is the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from irvis_train.fit import CHECKPOINT
from irvis_train.teacher_config import TeacherConfig
from irvis_train.teacher_training import LanguageTraining, train_teacher
from irvis_train.tensor_files import read_tensors

MakeTeacherConfig = Callable[..., TeacherConfig]
MakeTask = Callable[[TeacherConfig], LanguageTraining]


def log_rows(run_dir: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]


KILLED = """
import os, signal, sys
from irvis_runtime.config import load_config
from irvis_train.teacher_config import TeacherConfig
from irvis_train.teacher_training import LanguageTraining, train_teacher
from pathlib import Path

loss = LanguageTraining.loss

def fatal(self, step):
    if step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return loss(self, step)

LanguageTraining.loss = fatal
train_teacher(load_config(TeacherConfig, Path(sys.argv[1])))
"""


def run_python(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], env=environment, stderr=subprocess.PIPE
    )


def as_toml(config: TeacherConfig) -> str:
    """The fields of make_teacher_config; tables come last in TOML."""
    lines = [
        f"{name} = {json.dumps(getattr(config, name))}"
        for name in (
            "pairs",
            "val_pairs",
            "output",
            "width",
            "style",
            "gradient_weight",
            "ema_decay",
            "steps",
        )
    ]
    lines += [
        f"{name} = {json.dumps(getattr(config, name))}"
        for name in ("batch", "crop_px", "warmup_steps", "log_every", "samples_every", "sample_count")
    ]
    lines += [
        f"{name} = {json.dumps(getattr(config, name))}" for name in ("checkpoint_every", "threads", "device")
    ]
    lines += ["[clip]", f"pretrained = {json.dumps(config.clip.pretrained)}"]
    lines += [f"cache = {json.dumps(config.clip.cache)}", "[objective]"]
    lines += [
        f"{name} = {json.dumps(getattr(config.objective, name))}"
        for name in ("patches", "patch_min_entropy_bits", "salient_share")
    ]
    return "\n".join(lines)


def test_a_killed_run_goes_on_to_the_same_teacher(
    make_teacher_config: MakeTeacherConfig, tmp_path: Path
) -> None:
    """SIGKILL, which nothing can handle, in a process of its own."""
    config = make_teacher_config(tmp_path / "killed")
    (tmp_path / "run.toml").write_text(as_toml(config))
    process = run_python(KILLED, str(tmp_path / "run.toml"))
    whole = load_file(train_teacher(make_teacher_config(tmp_path / "whole")))
    _, told = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL, told.decode()
    assert read_tensors(tmp_path / "killed" / CHECKPOINT, "")[1]["step"] == "2"
    assert not (tmp_path / "killed" / "teacher.safetensors").exists()
    resumed = load_file(train_teacher(config))
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
    assert [row["step"] for row in log_rows(tmp_path / "killed")] == [1, 2, 3, 4, 5]


RANK = """
import sys
from datetime import timedelta
from pathlib import Path
import torch
from safetensors.torch import save_file
from torch import distributed
from irvis_runtime.config import load_config
from irvis_train.teacher_config import TeacherConfig
from irvis_train.teacher_training import LanguageTraining, train_teacher

folder, rank = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
meeting = f"file://{folder / 'meeting'}"
limit = timedelta(seconds=120)
distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2, timeout=limit)
loss = LanguageTraining.loss

def noted(self, step):
    value, parts = loss(self, step)
    if step == 0:
        value.backward(retain_graph=True)
        found = {name: parameter.grad for name, parameter in self.module.named_parameters()}
        save_file(found | {"loss": value.detach()}, folder / f"gradients-{rank}.safetensors")
        value, parts = loss(self, step)
    return value, parts

LanguageTraining.loss = noted
train_teacher(load_config(TeacherConfig, folder / "run.toml"))
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_one(
    make_teacher_config: MakeTeacherConfig, make_task: MakeTask, tmp_path: Path
) -> None:
    """Over gloo, meeting at a file; then three steps together, from which only the first one writes."""
    (tmp_path / "run.toml").write_text(as_toml(make_teacher_config(tmp_path / "two", steps=3)))
    processes = [run_python(RANK, str(tmp_path), str(rank)) for rank in range(2)]
    alone = make_teacher_config(tmp_path / "one", steps=3)
    task = make_task(alone)
    loss, parts = task.loss(0)
    assert 0.0 < float(parts["kept"]) <= 1.0
    expected = torch.autograd.grad(loss, list(task.module.parameters()))
    one = load_file(train_teacher(alone))
    for process in processes:
        _, told = process.communicate(timeout=300)
        assert process.returncode == 0, told.decode()
    found = [load_file(tmp_path / f"gradients-{rank}.safetensors") for rank in range(2)]
    largest = max(float(gradient.abs().max()) for gradient in expected)
    for (name, _), gradient in zip(task.module.named_parameters(), expected, strict=True):
        assert torch.equal(found[0][name], found[1][name]), name
        torch.testing.assert_close(found[0][name], gradient, rtol=1e-4, atol=1e-6 * largest, msg=name)
    assert float(found[0]["loss"]) == pytest.approx(loss.item(), rel=1e-6)
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == sorted(
        path.name for path in (tmp_path / "one").iterdir()
    )
    two = load_file(tmp_path / "two" / "teacher.safetensors")
    # Adam divides by the gradient's size, so that rounding shows where a gradient is almost nothing.
    differences = torch.cat([(two[name] - tensor).abs().flatten() for name, tensor in one.items()])
    assert float(differences.quantile(0.95)) < 1e-5
    rows = [[row["loss_global"] for row in log_rows(tmp_path / name)] for name in ("one", "two")]
    assert rows[0] == pytest.approx(rows[1], abs=1e-4)
