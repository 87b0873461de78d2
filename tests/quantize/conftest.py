"""An exported student small enough to quantize in a test, and pictures with a teacher to calibrate on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import ModelProto

from irvis_export.__main__ import export_model_dir
from irvis_quantize.examples import Example
from irvis_quantize.sessions import open_bytes
from irvis_runtime import default_model_dir, make_context
from irvis_runtime.contract import (
    CONTEXT,
    FUSED,
    INFRARED,
    VISIBLE,
    Manifest,
    WeightFile,
    save_manifest,
    sha256_of,
)
from irvis_runtime.image import write_picture
from irvis_train.student import Student
from irvis_train.student_files import save_student
from irvis_train.student_shape import StudentShape

Pictures = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def draw_pair(seed: int, height: int = 96, width: int = 128) -> Pictures:
    """Infrared with a few warm things, visible with a light gradient and edges; both with sensor noise."""
    random = np.random.default_rng(seed)
    infrared = np.full((height, width), 60.0 + 40.0 * random.random(), np.float32)
    visible = np.tile(np.linspace(30.0, 30.0 + 180.0 * random.random(), width, dtype=np.float32), (height, 1))
    for _ in range(8):
        row, column = int(random.integers(0, height)), int(random.integers(0, width))
        size = (int(random.integers(4, 20)), int(random.integers(4, 30)))
        cv2.ellipse(infrared, (column, row), size, 0, 0, 360, float(random.uniform(20, 250)), -1)
        cv2.rectangle(
            visible, (column, row), (column + size[0], row + size[1]), float(random.uniform(0, 255)), -1
        )
    noisy = [cv2.GaussianBlur(p, (0, 0), 1.0) + random.normal(0, 3, p.shape) for p in (infrared, visible)]
    infrared_hw, visible_hw = (np.clip(np.rint(p), 0, 255).astype(np.uint8) for p in noisy)
    return infrared_hw, visible_hw


def as_inputs(
    infrared_hw: NDArray[np.uint8], visible_hw: NDArray[np.uint8]
) -> dict[str, NDArray[np.generic]]:
    return {
        INFRARED: infrared_hw[None, None],
        VISIBLE: visible_hw[None, None],
        CONTEXT: make_context(infrared_hw, visible_hw),
    }


@pytest.fixture(scope="session")
def make_inputs() -> Callable[[int, int, int], dict[str, NDArray[np.generic]]]:
    """(seed, height, width) -> the ports' arrays of a drawn pair."""
    return lambda seed, height, width: as_inputs(*draw_pair(seed, height, width))


def export_random(shape: StudentShape, folder: Path) -> Path:
    """A student with random weights as `irvis export` leaves it."""
    torch.manual_seed(21)
    student = Student(shape).eval()
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if name.endswith("weight") and not name.startswith("modulation"):
                torch.nn.init.kaiming_normal_(parameter)
        if shape.ends == "blocks":
            student.get_parameter("back.blend.weight").normal_(std=0.005)
        student.modulation.leave.weight.normal_(std=0.01)
    save_student(student, folder / "student.safetensors")
    weights = WeightFile("student.safetensors", sha256_of(folder / "student.safetensors"))
    save_manifest(folder, Manifest("tiny", {}, student.shape.multiple_px, {}, {}, weights))
    export_model_dir(folder)
    return folder


@pytest.fixture(scope="session")
def exported_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny student with every part that those with block ends may have; do not write into it."""
    shape = StudentShape("blocks", 16, 32, 1, 16, 16, 1, 16, (1, 2), 16, joint_channels=32, lift_rank=16)
    return export_random(shape, tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_fine(tmp_path_factory: pytest.TempPathFactory) -> ModelProto:
    """One with fine ends, whose every layer has an offset."""
    folder = export_random(
        StudentShape("fine", 16, 32, 1, 16, 16, scene_channels=16), tmp_path_factory.mktemp("fine")
    )
    return onnx.load(folder / "model.onnx")


@pytest.fixture
def model_dir(exported_dir: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model to write into."""
    return Path(shutil.copytree(exported_dir, tmp_path / "tiny"))


@pytest.fixture(scope="session")
def tiny(exported_dir: Path) -> ModelProto:
    return onnx.load(exported_dir / "model.onnx")


@pytest.fixture(scope="session")
def shipped() -> ModelProto:
    """The trained FP32 graph that the wheel holds."""
    return onnx.load(default_model_dir() / "model.onnx")


@pytest.fixture(scope="session")
def element_types() -> Callable[[ModelProto], dict[str, int]]:
    """The type of every tensor of a graph, inferred anew from its operators."""

    def infer(model: ModelProto) -> dict[str, int]:
        bare = ModelProto()
        bare.CopyFrom(model)
        del bare.graph.value_info[:]
        inferred = onnx.shape_inference.infer_shapes(bare, strict_mode=True).graph
        values = [*inferred.value_info, *inferred.input, *inferred.output]
        types = {value.name: value.type.tensor_type.elem_type for value in values}
        return types | {tensor.name: tensor.data_type for tensor in inferred.initializer}

    return infer


@pytest.fixture(scope="session")
def examples(tiny: ModelProto) -> list[Example]:
    """Six pairs; the teacher is the tiny student itself, twelve grey levels brighter."""
    session = open_bytes(tiny)
    found = []
    for seed in range(6):
        inputs = as_inputs(*draw_pair(seed))
        fused = session.run([FUSED], inputs)[0][0, 0].astype(np.float32)
        found.append(Example(f"pair{seed}", inputs, np.clip(fused + 12.0, 0.0, 255.0)))
    return found


@pytest.fixture(scope="session")
def pairs_dir(examples: list[Example], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pairs as files: ir/, vis/ and, for a teacher, taught/."""
    folder = tmp_path_factory.mktemp("pairs")
    for name in ("ir", "vis", "taught"):
        (folder / name).mkdir()
    for example in examples:
        write_picture(
            folder / "ir" / f"{example.name}.png", np.asarray(example.inputs[INFRARED][0, 0], np.uint8)
        )
        write_picture(
            folder / "vis" / f"{example.name}.png", np.asarray(example.inputs[VISIBLE][0, 0], np.uint8)
        )
        write_picture(folder / "taught" / f"{example.name}.png", np.rint(example.target_hw).astype(np.uint8))
    return folder


@pytest.fixture(scope="session")
def words(pairs_dir: Path) -> Callable[..., list[str]]:
    """(model directory, more arguments) -> the arguments of `irvis quantize` on the drawn pairs."""

    def arguments(model_dir: Path, *more: str) -> list[str]:
        teacher = str(pairs_dir / "taught")
        return ["quantize", str(model_dir), "--pairs", str(pairs_dir), "--teacher", teacher, *more]

    return arguments


@pytest.fixture(scope="session")
def lenient() -> tuple[str, ...]:
    """Limits for weights made at random, which lose more than trained ones."""
    return ("--max-drop-db", "5", "--min-mean-agreement-db", "20")
