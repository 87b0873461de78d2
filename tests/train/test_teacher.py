from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from irvis_runtime.errors import ContractError
from irvis_runtime.image import read_infrared, read_visible
from irvis_train.data import as_tensor
from irvis_train.ldfusion import LdFusion, LdFusionShape
from irvis_train.student import Student
from irvis_train.student_files import StudentAsTeacher, save_student
from irvis_train.student_shape import StudentShape
from irvis_train.teacher import convert_teacher, load_teacher

PUBLISHED_MIN_PSNR_DB = 45.0
FIRST = "encoder.content_encoder1.model.1.weight"


def one_line(info: pytest.ExceptionInfo[ContractError]) -> str:
    text = str(info.value)
    assert "\n" not in text
    return text


@pytest.fixture
def styled() -> LdFusion:
    torch.manual_seed(5)
    return LdFusion(LdFusionShape(width=2, style=True))


def save_two_files(styled: LdFusion, folder: Path, prefix: str = "") -> None:
    folder.mkdir()
    for name, part in (("Enc_final.pt", styled.encoder), ("Dec_final.pt", styled.decoder)):
        torch.save({prefix + key: tensor for key, tensor in part.state_dict().items()}, folder / name)


def fused_by(teacher: torch.nn.Module, height: int = 33, width: int = 47) -> Tensor:
    torch.manual_seed(9)
    fused: Tensor = teacher(*torch.rand(2, 1, 1, height, width))
    return fused


@pytest.mark.parametrize("name", ["1", "2"])
def test_published_weights_give_the_published_pictures(shared: Path, name: str) -> None:
    """The authors saved truncated 255 * x, joined with the visible picture's Cr and Cb, as RGB."""
    root = shared / "checkpoints" / "ldlite"
    teacher = load_teacher(root / "final.pt")
    infrared_hw = read_infrared(root / "published" / "ir" / f"{name}.png")
    visible_hw = read_visible(root / "published" / "vi" / f"{name}.png").luma_hw
    published_hw = read_visible(root / "published" / "results" / f"{name}.png").luma_hw
    fused_hw = (teacher(as_tensor(infrared_hw), as_tensor(visible_hw))[0, 0].numpy() * 255).astype(np.uint8)
    error = float(np.mean((fused_hw.astype(np.float64) - published_hw) ** 2))
    psnr_db = 10 * np.log10(255**2 / error)
    assert psnr_db >= PUBLISHED_MIN_PSNR_DB, f"{psnr_db:.1f} dB to the published picture {name}"


def test_published_weights_are_the_lite_network(shared: Path) -> None:
    teacher = load_teacher(shared / "checkpoints" / "ldlite" / "final.pt")
    assert isinstance(teacher, LdFusion)
    assert teacher.shape == LdFusionShape(width=8, style=False)
    assert sum(parameter.numel() for parameter in teacher.parameters()) == 652_385


def test_a_teacher_is_frozen_and_in_eval_mode(teacher_file: Path) -> None:
    teacher = load_teacher(str(teacher_file))
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


@pytest.mark.parametrize("prefix", ["", "module."])
def test_two_files_make_the_styled_teacher(styled: LdFusion, tmp_path: Path, prefix: str) -> None:
    save_two_files(styled, tmp_path / "weight", prefix)
    teacher = load_teacher(tmp_path / "weight")
    assert isinstance(teacher, LdFusion)
    assert teacher.shape == styled.shape
    assert torch.equal(fused_by(teacher), fused_by(styled.eval()))


def test_one_file_may_come_from_several_gpus(teacher: LdFusion, tmp_path: Path) -> None:
    torch.save({f"module.{name}": tensor for name, tensor in teacher.state_dict().items()}, tmp_path / "a.pt")
    assert torch.equal(fused_by(load_teacher(tmp_path / "a.pt")), fused_by(teacher))


@pytest.mark.parametrize("style", [True, False])
def test_a_converted_teacher_gives_the_same_bits(
    style: bool, styled: LdFusion, teacher: LdFusion, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "weight"
    if style:
        save_two_files(styled, checkpoint)
    else:
        torch.save(teacher.state_dict(), checkpoint)
    convert_teacher(checkpoint, tmp_path / "sub" / "teacher.safetensors")
    converted = load_teacher(tmp_path / "sub" / "teacher.safetensors")
    assert torch.equal(fused_by(converted), fused_by(load_teacher(checkpoint)))
    with safe_open(tmp_path / "sub" / "teacher.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["shape"]) == {"width": 2 if style else 4, "style": style}


def test_a_converted_teacher_converts_again(teacher_file: Path, tmp_path: Path) -> None:
    convert_teacher(teacher_file, tmp_path / "again.safetensors")
    assert torch.equal(
        fused_by(load_teacher(tmp_path / "again.safetensors")), fused_by(load_teacher(teacher_file))
    )


def test_convert_wants_the_suffix_by_which_it_is_known_again(teacher_file: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ContractError, match=r"teacher\.pt: expected a name that ends in \.safetensors"
    ) as info:
        convert_teacher(teacher_file, tmp_path / "teacher.pt")
    one_line(info)
    assert not (tmp_path / "teacher.pt").exists()


def test_a_model_directory_teaches_by_its_student(tmp_path: Path) -> None:
    torch.manual_seed(2)
    student = Student(StudentShape(deep_channels=32, lift_channels=16, scene_channels=16))
    model_dir = write_model(student, tmp_path / "model")
    teacher = load_teacher(model_dir)
    assert isinstance(teacher, StudentAsTeacher)
    assert torch.equal(fused_by(teacher), fused_by(StudentAsTeacher(student)))
    with pytest.raises(ContractError, match="is a student's model directory") as info:
        convert_teacher(model_dir, tmp_path / "teacher.safetensors")
    one_line(info)


def write_model(student: Student, folder: Path) -> Path:
    from irvis_runtime.contract import Manifest, WeightFile, save_manifest, sha256_of

    save_student(student, folder / "student.safetensors")
    weights = WeightFile("student.safetensors", sha256_of(folder / "student.safetensors"))
    save_manifest(folder, Manifest("model", {}, student.shape.multiple_px, {}, {}, weights))
    return folder


def test_a_pickle_with_other_objects_is_refused_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "was-run"

    class Attack:
        def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
            return Path.touch, (marker,)

    torch.save({FIRST: Attack()}, tmp_path / "torch.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({FIRST: Attack()}, protocol=2))
    for name in ("torch.pt", "plain.pt"):
        with pytest.raises(ContractError, match=rf"{name}: not a whole PyTorch weights file") as info:
            load_teacher(tmp_path / name)
        one_line(info)
    assert not marker.exists()
    # The same file does run where arbitrary objects are allowed: the test can fail.
    torch.load(tmp_path / "torch.pt", weights_only=False)
    assert marker.exists()


Change = Callable[[dict[str, Tensor]], dict[str, Any]]
WRONG_TENSORS: dict[str, tuple[Change, str]] = {
    "missing": (
        lambda t: {k: v for k, v in t.items() if "model_up.0" not in k},
        "do not fit .*model_up.0.weight",
    ),
    "too many": (lambda t: t | {"encoder.other": torch.zeros(1)}, "do not fit .*encoder.other"),
    "another shape": (
        lambda t: t | {"decoder.model_up.0.bias": torch.zeros(99)},
        "do not fit .*size mismatch",
    ),
    "no first": (lambda t: {k: v for k, v in t.items() if k != FIRST}, f"has no tensor {FIRST}"),
    "a scalar first": (lambda t: t | {FIRST: torch.tensor(3.0)}, r"has the shape \(\)"),
    "no channel": (lambda t: t | {FIRST: torch.zeros(0, 1, 7, 7)}, r"has the shape \(0, 1, 7, 7\)"),
    "too wide": (lambda t: t | {FIRST: torch.zeros(4096, 1, 7, 7)}, r"has the shape \(4096, 1, 7, 7\)"),
    "NaN": (
        lambda t: t | {"decoder.model_up.0.bias": torch.full((32,), float("nan"))},
        "model_up.0.bias holds NaN",
    ),
    "infinity": (lambda t: t | {FIRST: torch.full((4, 1, 7, 7), float("inf"))}, "holds NaN or infinity"),
    "no tensors": (lambda t: {"epoch": 3, "state": {}}, "expected a dictionary of tensors"),
}


@pytest.mark.parametrize("case", WRONG_TENSORS)
def test_wrong_tensors_are_refused_in_one_line(case: str, teacher: LdFusion, tmp_path: Path) -> None:
    change, match = WRONG_TENSORS[case]
    torch.save(change(dict(teacher.state_dict())), tmp_path / "final.pt")
    with pytest.raises(ContractError, match=match) as info:
        load_teacher(tmp_path / "final.pt")
    assert str(tmp_path / "final.pt") in one_line(info)


def test_what_is_no_teacher_is_refused_and_told_what_would_be(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "text.pt").write_text("no weights\n")
    (tmp_path / "nothing.pt").touch()
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors", {"format": "pt"})
    save_file({"a": torch.zeros(1)}, tmp_path / "plain.safetensors")
    expected = {
        "missing.pt": "does not exist",
        "empty": r"expected one Enc_\*\.pt, got 0",
        "folder.safetensors": "not a whole safetensors file",
        "text.pt": "not a whole PyTorch weights file",
        "nothing.pt": "not a whole PyTorch weights file",
        "other.safetensors": "expected format 'irvis-teacher-1', got 'pt'",
        "plain.safetensors": "expected format 'irvis-teacher-1', got None",
    }
    for name, match in expected.items():
        with pytest.raises(ContractError, match=match) as info:
            load_teacher(tmp_path / name)
        assert str(tmp_path / name) in one_line(info)


def test_two_epochs_in_one_folder_are_refused(styled: LdFusion, tmp_path: Path) -> None:
    save_two_files(styled, tmp_path / "weight")
    (tmp_path / "weight" / "Dec_00069.pt").write_bytes((tmp_path / "weight" / "Dec_final.pt").read_bytes())
    with pytest.raises(ContractError, match=r"expected one Dec_\*\.pt, got 2") as info:
        load_teacher(tmp_path / "weight")
    one_line(info)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_half_a_file_is_refused(suffix: str, teacher_file: Path, tmp_path: Path) -> None:
    whole = (tmp_path / "final.pt" if suffix == ".pt" else teacher_file).read_bytes()
    for size in (0, 7, len(whole) // 2, len(whole) - 1):
        (tmp_path / f"half{suffix}").write_bytes(whole[:size])
        with pytest.raises(ContractError, match="not a whole") as info:
            load_teacher(tmp_path / f"half{suffix}")
        one_line(info)


# Most bytes are weights, which may have any value; both formats keep their pickles in the first thousands.
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=6),
    is_old_format=st.booleans(),
)
def test_damaged_pickles_are_loaded_or_refused_in_one_line(
    changes: list[tuple[int, int]], is_old_format: bool, teacher: LdFusion, tmp_path: Path
) -> None:
    path = tmp_path / "damaged.pt"
    torch.save(teacher.state_dict(), path, _use_new_zipfile_serialization=not is_old_format)
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[place] = value
    path.write_bytes(content)
    outcome = loaded_or_error(path)
    assert isinstance(outcome, LdFusion) or (isinstance(outcome, str) and "\n" not in outcome)


def loaded_or_error(path: Path) -> torch.nn.Module | str:
    try:
        return load_teacher(path)
    except ContractError as error:
        return str(error)
