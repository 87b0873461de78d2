"""A training that is killed, and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path

import pytest

from irvis_train.config import DistillConfig
from irvis_train.distill import distil
from irvis_train.fit import CHECKPOINT

from .runs import metadata, weights

KILLED_RUN = """
import os, signal, sys
from pathlib import Path
from irvis_runtime.__main__ import main
from irvis_train.distill import Distillation

loss, replace = Distillation.loss, Path.replace

def fatal_loss(self, step):
    if step == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return loss(self, step)

def fatal_replace(self, target):
    if Path(target).name == "checkpoint.safetensors" and Path(target).exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)

if sys.argv[1] == "in a step":
    Distillation.loss = fatal_loss
else:
    Path.replace = fatal_replace
sys.exit(main(["train", "student", sys.argv[2]]))
"""


@pytest.mark.parametrize(
    "moment",
    ["in a step", pytest.param("before the new checkpoint has the old one's name", marks=pytest.mark.slow)],
)
def test_a_killed_training_goes_on_to_the_same_weights(
    moment: str, make_config: Callable[..., DistillConfig], tmp_path: Path
) -> None:
    """SIGKILL, which nothing can handle, in a process of its own; then the same command again."""
    whole = distil(make_config(tmp_path / "whole"))
    config = make_config(tmp_path / "killed")
    lines = [f"{key} = {json.dumps(value)}" for key, value in vars(config).items() if not is_dataclass(value)]
    lines += ["[student]", *(f"{key} = {json.dumps(value)}" for key, value in vars(config.student).items())]
    (tmp_path / "run.toml").write_text("\n".join(lines))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_RUN, moment, str(tmp_path / "run.toml")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert metadata(tmp_path / "killed" / CHECKPOINT)["step"] == "4"
    assert not (tmp_path / "killed" / "tiny").exists()
    resumed = distil(config)
    assert weights(resumed) == weights(whole)
