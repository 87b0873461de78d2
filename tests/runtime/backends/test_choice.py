from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irvis_runtime import ContractError, default_model_dir
from irvis_runtime.backends.choice import (
    BACKEND_PRECISIONS,
    BACKENDS,
    Backend,
    choose_backend,
    choose_precision,
)
from irvis_runtime.contract import PRECISIONS, Manifest, ModelFile, load_manifest

Machine = Callable[..., None]


@pytest.fixture
def manifest() -> Manifest:
    return load_manifest(default_model_dir())


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine on which the named backends run, and no other."""

    def make(*backends: str) -> None:
        def why_not(name: str) -> str:
            return "" if name in backends else f"no {name}"

        def of_provider(provider: str = "CPU") -> str:
            return why_not({"CPU": "onnxruntime"}.get(provider, "onnxruntime-cuda"))

        monkeypatch.setattr("irvis_runtime.backends.tensorrt.why_not", lambda: why_not("tensorrt"))
        monkeypatch.setattr("irvis_runtime.backends.onnxruntime.why_not", of_provider)
        monkeypatch.setattr("irvis_runtime.backends.openvino.why_not", lambda: why_not("openvino"))

    return make


@pytest.mark.parametrize(
    ("found", "expected", "reason"),
    [
        (BACKENDS, "tensorrt", "found here"),
        (("onnxruntime-cuda", "onnxruntime", "openvino"), "onnxruntime-cuda", "no tensorrt"),
        (("onnxruntime", "openvino"), "onnxruntime", "no tensorrt, no onnxruntime-cuda"),
        (("openvino",), "openvino", "no tensorrt, no onnxruntime-cuda, no onnxruntime"),
        ((), "onnxruntime", "no tensorrt, no onnxruntime-cuda, no onnxruntime, no openvino"),
    ],
)
def test_auto_is_the_first_that_runs_and_says_what_the_others_lack(
    found: tuple[str, ...], expected: str, reason: str, machine: Machine
) -> None:
    machine(*found)
    assert choose_backend("auto") == (expected, reason)


def test_auto_passes_over_what_did_not_load(machine: Machine) -> None:
    machine(*BACKENDS)
    failed: dict[Backend, str] = {"tensorrt": "it broke"}
    assert choose_backend("auto", failed) == ("onnxruntime-cuda", "it broke")


@pytest.mark.parametrize("name", BACKENDS)
def test_a_name_is_taken_at_its_word(name: str, machine: Machine) -> None:
    machine()
    assert choose_backend(name) == (name, "as asked")


@given(name=st.text(max_size=20))
def test_any_other_name_is_refused(name: str) -> None:
    if name in (*BACKENDS, "auto"):
        return
    with pytest.raises(ContractError, match=r"^backend: expected auto, tensorrt, "):
        choose_backend(name)


def test_auto_takes_int8_only_where_the_cpu_is_quick_at_it(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("irvis_runtime.backends.choice.has_fast_int8", lambda: True)
    assert choose_precision(manifest, "auto", "onnxruntime") == ("int8", "the CPU has 8-bit dot products")
    monkeypatch.setattr("irvis_runtime.backends.choice.has_fast_int8", lambda: False)
    assert choose_precision(manifest, "auto", "onnxruntime") == ("fp32", "the CPU has no 8-bit dot products")
    assert choose_precision(manifest, "int8", "onnxruntime") == ("int8", "as asked")
    only_int8 = replace(manifest, files={"int8": manifest.files["int8"]})
    assert choose_precision(only_int8, "auto", "onnxruntime")[0] == "int8"


@pytest.mark.parametrize("backend", ["tensorrt", "onnxruntime-cuda", "onnxruntime-tensorrt"])
def test_auto_takes_fp16_on_a_gpu_and_never_the_cpus_int8(backend: Backend, manifest: Manifest) -> None:
    assert choose_precision(manifest, "auto", backend) == ("fp16", "its first choice")
    with pytest.raises(ContractError, match=f"no file of precision 'int8' for {backend}"):
        choose_precision(manifest, "int8", backend)
    without = replace(manifest, files={"fp32": manifest.files["fp32"]})
    assert choose_precision(without, "auto", backend)[0] == "fp32"


def test_auto_takes_fp32_on_openvino_whose_int8_is_less_exact(manifest: Manifest) -> None:
    assert choose_precision(manifest, "auto", "openvino")[0] == "fp32"
    assert choose_precision(manifest, "int8-trt", "openvino") == ("int8-trt", "as asked")


def test_a_model_without_files_says_what_makes_them(manifest: Manifest) -> None:
    empty = replace(manifest, files={})
    with pytest.raises(
        ContractError, match="those it has: none; `irvis export` and `irvis quantize` make them"
    ):
        choose_precision(empty, "auto", "onnxruntime")


@given(
    backend=st.sampled_from(BACKENDS),
    held=st.sets(st.sampled_from(PRECISIONS)),
    asked=st.sampled_from(("auto", *PRECISIONS)),
)
def test_what_is_chosen_is_held_and_runs_or_is_refused(backend: Backend, held: set[str], asked: str) -> None:
    files = {name: ModelFile(f"{name}.onnx", "0" * 64, 17) for name in sorted(held)}
    manifest = replace(load_manifest(default_model_dir()), files=files)
    runs = held & set(BACKEND_PRECISIONS[backend])
    if (asked in runs) or (asked == "auto" and runs):
        chosen, reason = choose_precision(manifest, asked, backend)
        assert chosen in runs
        assert asked in ("auto", chosen)
        assert reason
    else:
        with pytest.raises(ContractError, match="has no file of precision"):
            choose_precision(manifest, asked, backend)
