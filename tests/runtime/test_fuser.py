from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime import BackendError, ContractError, Fuser, default_model_dir, make_context
from irvis_runtime import fuser as fuser_module
from irvis_runtime.backends import open_session
from irvis_runtime.backends.choice import Backend
from irvis_runtime.contract import CONTEXT_SHAPE, MANIFEST_NAME, load_manifest, save_manifest


@pytest.fixture(scope="module")
def fuser() -> Iterator[Fuser]:
    """The shipped model in FP32 on the CPU."""
    with Fuser(precision="fp32", backend="onnxruntime", threads=1) as opened:
        yield opened


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    """A copy of the shipped model to spoil."""
    return Path(shutil.copytree(default_model_dir(), tmp_path / "model"))


def pictures(height: int, width: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    infrared = 80 + 60 * np.sin(rows / 7) + random.normal(0, 6, (height, width))
    visible = 120 + 70 * np.cos(columns / 11) + random.normal(0, 6, (height, width))
    low, high = (np.clip(np.rint(p), 0, 255).astype(np.uint8) for p in (infrared, visible))
    return low, high


@pytest.mark.parametrize("size_hw", [(16, 16), (17, 31), (16, 200), (97, 161), (240, 320)])
def test_any_size_from_16_up(fuser: Fuser, size_hw: tuple[int, int]) -> None:
    infrared, visible = pictures(*size_hw)
    fused = fuser.fuse(infrared, visible)
    assert fused.shape == size_hw
    assert fused.dtype == np.uint8
    assert fused.std() > 5


def test_three_precisions_agree(tolerances: Mapping[str, float]) -> None:
    infrared, visible = pictures(97, 161)
    fused = {}
    for precision in ("fp32", "fp16", "int8"):
        with Fuser(precision=precision, backend="onnxruntime") as opened:
            assert (opened.precision, opened.backend) == (precision, "onnxruntime")
            assert set(opened.versions) == {"onnxruntime"}
            fused[precision] = opened.fuse(infrared, visible).astype(np.float64)
    assert np.abs(fused["fp16"] - fused["fp32"]).max() <= tolerances["fp16_max_lsb"]
    error = np.square(fused["int8"] - fused["fp32"]).mean()
    assert 10 * np.log10(255**2 / max(error, 1e-9)) > tolerances["int8_min_psnr_db"]


def test_default_context_is_the_pictures_own(fuser: Fuser) -> None:
    infrared, visible = pictures(60, 80)
    own = fuser.fuse(infrared, visible)
    np.testing.assert_array_equal(fuser.fuse(infrared, visible, make_context(infrared, visible)), own)
    other = fuser.fuse(infrared, visible, make_context(visible // 3, infrared))
    assert not np.array_equal(other, own)


def test_far_away_only_the_context_reaches(fuser: Fuser) -> None:
    """A lamp that enters one end leaves the other end's bytes alone while the context is the same."""
    infrared, visible = pictures(32, 1600)
    context = make_context(infrared, visible)
    dark = fuser.fuse(infrared, visible, context)
    visible[:, :32] = 255
    lit = fuser.fuse(infrared, visible, context)
    assert not np.array_equal(lit[:, :32], dark[:, :32])
    np.testing.assert_array_equal(lit[:, 800:], dark[:, 800:])


def test_views_give_the_same_as_copies(fuser: Fuser) -> None:
    infrared, visible = pictures(80, 120)
    for view in (np.s_[::2, ::3], np.s_[::-1, :], np.s_[5:70, 9:100]):
        expected = fuser.fuse(infrared[view].copy(), visible[view].copy())
        np.testing.assert_array_equal(fuser.fuse(infrared[view], visible[view]), expected)
    turned = fuser.fuse(infrared.T, visible.T)
    np.testing.assert_array_equal(turned, fuser.fuse(infrared.T.copy(), visible.T.copy()))
    frozen = infrared.copy()
    frozen.setflags(write=False)
    np.testing.assert_array_equal(fuser.fuse(frozen, visible), fuser.fuse(infrared, visible))


def test_inputs_stay_and_results_are_the_callers(fuser: Fuser) -> None:
    infrared, visible = pictures(40, 40)
    before = infrared.copy(), visible.copy()
    first = fuser.fuse(infrared, visible)
    kept = first.copy()
    fuser.fuse(visible, infrared)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(infrared, before[0])
    np.testing.assert_array_equal(visible, before[1])


GOOD = np.full((32, 32), 7, np.uint8)


@pytest.mark.parametrize(
    ("infrared", "visible", "expected"),
    [
        (GOOD.astype(np.float32), GOOD, r"infrared: expected a uint8 array .*got float32 \(32, 32\)"),
        (GOOD, GOOD.astype(np.uint16), r"visible: expected a uint8 array .*got uint16"),
        (GOOD, GOOD.astype(np.int8), r"visible: expected a uint8 array .*got int8"),
        (GOOD > 3, GOOD, r"infrared: .*got bool"),
        (np.zeros((32, 32, 3), np.uint8), GOOD, r"infrared: .*got uint8 \(32, 32, 3\)"),
        (np.zeros((1, 1, 32, 32), np.uint8), GOOD, r"infrared: .*got uint8 \(1, 1, 32, 32\)"),
        (np.zeros(32, np.uint8), GOOD, r"infrared: .*got uint8 \(32,\)"),
        (np.zeros((15, 32), np.uint8), GOOD, r"infrared: .*at least 16, got uint8 \(15, 32\)"),
        (GOOD, np.zeros((32, 15), np.uint8), r"visible: .*at least 16, got uint8 \(32, 15\)"),
        (np.zeros((0, 0), np.uint8), GOOD, r"infrared: .*got uint8 \(0, 0\)"),
        (GOOD, GOOD[:20], r"equal size, got infrared \(32, 32\) and visible \(20, 32\)"),
        (GOOD.tolist(), GOOD, r"infrared: .*got a list"),
        (GOOD, None, r"visible: .*got a NoneType"),
    ],
)
def test_wrong_pictures_say_what_came(fuser: Fuser, infrared: Any, visible: Any, expected: str) -> None:
    with pytest.raises(ContractError, match=expected) as caught:
        fuser.fuse(infrared, visible)
    assert "\n" not in str(caught.value)


def context_with(value: float) -> NDArray[np.float32]:
    context = np.full(CONTEXT_SHAPE, 100, np.float32)
    context[0, 1, 63, 63] = value
    return context


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (context_with(np.nan), "with NaN or infinity"),
        (context_with(np.inf), "with NaN or infinity"),
        (np.zeros((2, 64, 64), np.float32), r"got float32 \(2, 64, 64\)"),
        (np.zeros(CONTEXT_SHAPE, np.float64), "got float64"),
        (np.zeros(CONTEXT_SHAPE, np.uint8), "got uint8"),
        ([1.0], "got a list"),
    ],
)
def test_wrong_contexts_say_what_came(fuser: Fuser, context: Any, expected: str) -> None:
    with pytest.raises(ContractError, match=f"context: expected a finite float32 array .*{expected}"):
        fuser.fuse(GOOD, GOOD, context)


def test_closed_fuser_says_so() -> None:
    with Fuser(precision="fp32", backend="onnxruntime", threads=1) as opened:
        opened.fuse(GOOD, GOOD)
    opened.close()
    with pytest.raises(BackendError, match="this Fuser is closed; make a new one"):
        opened.fuse(GOOD, GOOD)


@pytest.mark.parametrize("precision", ["int4", "", "FP32", "int8-trt"])
def test_unknown_precision_names_those_that_are(precision: str) -> None:
    with pytest.raises(ContractError, match=f"no file of precision '{precision}' for onnxruntime; .*fp32"):
        Fuser(precision=precision, backend="onnxruntime")


def test_unknown_backend() -> None:
    with pytest.raises(ContractError, match=r"expected auto, tensorrt, .*, got 'cuda'"):
        Fuser(backend="cuda")


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_are_one_or_more(threads: int) -> None:
    with pytest.raises(ContractError, match=f"threads: expected 1 or more, got {threads}"):
        Fuser(threads=threads)


@pytest.mark.parametrize("backend", ["auto", "onnxruntime"])
def test_it_says_in_a_line_what_fuses_and_why(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("irvis_runtime.backends.tensorrt.why_not", lambda: "TensorRT cannot be imported")
    monkeypatch.setattr("irvis_runtime.backends.choice.has_fast_int8", lambda: True)
    with Fuser(backend=backend, threads=2) as fuser:
        why = "as asked" if backend != "auto" else fuser.reason.rpartition(", ")[0]
        assert fuser.reason == f"{why}, the CPU has 8-bit dot products"
        version = fuser.versions["onnxruntime"]
        assert fuser.description == f"onnxruntime {version}, int8, 2 threads: {fuser.reason}"
        assert backend != "auto" or "TensorRT cannot be imported" in why


def test_a_submitted_picture_is_the_one_that_fuse_gives(fuser: Fuser) -> None:
    infrared, visible = pictures(40, 60)
    pending = [fuser.submit(infrared, visible), fuser.submit(visible, infrared)]
    np.testing.assert_array_equal(pending[0].collect(), fuser.fuse(infrared, visible))
    np.testing.assert_array_equal(pending[1].collect(), fuser.fuse(visible, infrared))
    with pytest.raises(ContractError, match="visible: expected a uint8 array"):
        fuser.submit(infrared, visible.astype(np.float32))


def test_a_backend_that_auto_takes_and_that_does_not_load_is_told_and_passed_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def open_(backend: Backend, model: Path, threads: int | None) -> Any:
        if backend != "onnxruntime":
            raise BackendError(f"{backend} lacks a library; install it")
        return real(backend, model, threads)

    real = open_session
    monkeypatch.setattr(fuser_module, "open_session", open_)
    monkeypatch.setattr("irvis_runtime.backends.tensorrt.why_not", lambda: "")
    monkeypatch.setattr("irvis_runtime.backends.onnxruntime.why_not", lambda provider="": "")
    with Fuser(threads=1) as opened:
        assert opened.backend == "onnxruntime"
        assert opened.reason.startswith("tensorrt does not load, onnxruntime-cuda does not load, the CPU has")
    assert [message.partition(";")[0] for message in caplog.messages] == [
        f"{name} does not load, another backend is taken: {name} lacks a library"
        for name in ("tensorrt", "onnxruntime-cuda")
    ]
    for name in ("tensorrt", "onnxruntime-cuda"):
        with pytest.raises(BackendError, match=f"{name} lacks a library"):
            Fuser(backend=name)


def test_default_model_is_the_shipped_one() -> None:
    folder = default_model_dir()
    assert (folder / MANIFEST_NAME).is_file()
    with Fuser() as default, Fuser(str(folder), default.precision, default.backend) as named:
        assert default.model_dir == folder
        np.testing.assert_array_equal(default.fuse(GOOD, GOOD), named.fuse(GOOD, GOOD))


def never_opened(*arguments: object) -> None:
    raise AssertionError(f"a backend was given {arguments}")


def spoil_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def spoil_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def spoil_empty(path: Path) -> None:
    path.write_bytes(b"")


def spoil_gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("spoil", [spoil_cut, spoil_bit, spoil_empty, spoil_gone])
@pytest.mark.parametrize("precision", ["fp32", "int8", "fp16"])
def test_a_spoilt_file_is_refused_before_it_is_loaded(
    spoil: Any, precision: str, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(model_dir / load_manifest(model_dir).files[precision].path)
    monkeypatch.setattr("irvis_runtime.fuser.open_session", never_opened)
    with pytest.raises(ContractError, match=r"expected SHA-256|expected a file to hash") as caught:
        Fuser(model_dir, precision, "onnxruntime")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_the_contracts_is_refused_even_with_its_hash(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest and the file agree, but the file is the one of another opset."""
    found = load_manifest(model_dir)
    files = {**found.files, "fp32": replace(found.files["fp32"], opset=18)}
    save_manifest(model_dir, replace(found, files=files))
    monkeypatch.setattr("irvis_runtime.fuser.open_session", never_opened)
    with pytest.raises(ContractError, match="expected opset 18, got 17"):
        Fuser(model_dir, "fp32", "onnxruntime")


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"the manifest of a model directory, found no such file"):
        Fuser(tmp_path)
    with pytest.raises(ContractError, match="expected a model directory, found nothing"):
        Fuser(tmp_path / "nowhere")
