"""The checks behind `irvis doctor`: each looks at one thing and says what is there and what to do.

What fuses is looked at here, what `irvis live` needs besides in live.py.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from irvis_runtime.backends import onnxruntime, openvino
from irvis_runtime.backends.choice import choose_backend
from irvis_runtime.backends.cudart import open_cudart
from irvis_runtime.backends.tensorrt_api import import_tensorrt
from irvis_runtime.board import ROOT, cpu_model, has_fast_int8, memory_mb, module_version, read_jetson
from irvis_runtime.contract import checked_model_path, load_manifest
from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.fuser import Fuser
from irvis_runtime.kernels.library import SWITCH, describe_kernels, kernels
from irvis_runtime.shipped_models import default_model_dir

from .check import MISSING, OK, WARNING, Check
from .live import live_checks

OLDEST_PYTHON = (3, 10)
LEAST_FREE_MB = 1024
WORKBENCH = ("torch", "open_clip", "onnx", "onnxsim")
TRIAL_SIZE_HW = (96, 128)
PROVIDERS = (onnxruntime.TENSORRT, onnxruntime.CUDA, onnxruntime.CPU)


def all_checks(root: Path = ROOT) -> list[Callable[[], Check]]:
    """Every check, in the order in which one depends on another."""
    return [
        check_python,
        check_numpy,
        check_opencv,
        check_onnxruntime,
        check_tensorrt,
        check_openvino,
        check_backend,
        lambda: check_fast_int8(root),
        check_kernels,
        check_model,
        check_fusion,
        *live_checks(root),
        lambda: check_jetson(root),
        check_workbench,
        lambda: check_memory(root),
        check_disk,
    ]


def check_python() -> Check:
    """Python is recent enough."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Check("Python", MISSING, version, "install Python 3.10 or later", is_required=True)
    return Check("Python", OK, version, is_required=True)


def check_numpy() -> Check:
    """The one package that everything needs."""
    return Check("numpy", OK, np.__version__, is_required=True)


def check_opencv() -> Check:
    """OpenCV reads and writes the pictures."""
    version, why = module_version("cv2")
    if version is None:
        advice = (
            "run `pip install opencv-python-headless` or, on a board, `sudo apt-get install python3-opencv`"
        )
        return Check("OpenCV", MISSING, why, advice, is_required=True)
    return Check("OpenCV", OK, version, is_required=True)


def check_onnxruntime() -> Check:
    """The backend for the CPU."""
    version, why = module_version("onnxruntime")
    if version is None:
        return Check("ONNX Runtime", WARNING, why, onnxruntime.INSTALL)
    providers = onnxruntime.import_onnxruntime().get_available_providers()
    used = [name.removesuffix("ExecutionProvider") for name in providers if name in PROVIDERS]
    return Check("ONNX Runtime", OK, f"{version} for {', '.join(used)}")


def check_tensorrt() -> Check:
    """The backend for the GPU: the module itself, because a distribution of that name can be a stub."""
    try:
        trt, gpu = import_tensorrt(), open_cudart().gpu()
    except BackendError as error:
        return Check("TensorRT", WARNING, f"none: {error}", "needed only for an NVIDIA GPU")
    return Check("TensorRT", OK, f"{trt.__version__} on {gpu.name}, CUDA {gpu.cuda}")


def check_openvino() -> Check:
    """A second backend for the CPU, which nothing needs."""
    version, why = module_version("openvino")
    if version is None:
        return Check("OpenVINO", WARNING, f"none: {why}", f"optional: {openvino.INSTALL}")
    return Check("OpenVINO", OK, version.partition("-")[0])


def check_backend() -> Check:
    """One is enough; which of them auto takes, and why."""
    checks = (check_onnxruntime(), check_tensorrt(), check_openvino())
    backends = [check.name for check in checks if check.status == OK]
    if not backends:
        found = "neither ONNX Runtime nor TensorRT nor OpenVINO"
        return Check("Backend", MISSING, found, onnxruntime.INSTALL, is_required=True)
    chosen, reason = choose_backend("auto")
    found = f"{', '.join(backends)}; auto takes {chosen}: {reason}"
    return Check("Backend", OK, found, is_required=True)


def check_fast_int8(root: Path = ROOT) -> Check:
    """Whether INT8 pays on this CPU."""
    name = "INT8 on the CPU"
    if has_fast_int8(root):
        return Check(name, OK, f"{cpu_model(root)} has dot-product instructions")
    found = f"{cpu_model(root)} has no dot-product instructions (VNNI, AMX, DotProd)"
    return Check(name, WARNING, found, "`auto` takes FP32 here, which is as fast and exact")


def check_kernels() -> Check:
    """Whether what `irvis live` does with every frame is compiled for this machine."""
    found = describe_kernels().removeprefix("kernels: ")
    if kernels() is None:
        advice = f"unset {SWITCH}, install the wheel, or run `make install` in a clone of irvis"
        return Check("Kernels", WARNING, found, advice)
    return Check("Kernels", OK, found)


def check_model() -> Check:
    """The shipped model, every file of it by hash and contract."""
    model_dir = default_model_dir()
    try:
        manifest = load_manifest(model_dir)
        for precision in manifest.files:
            checked_model_path(model_dir, manifest, precision)
    except ContractError as error:
        return Check("Shipped model", MISSING, str(error), "install irvis-runtime again", is_required=True)
    return Check("Shipped model", OK, f"{manifest.name}: {', '.join(manifest.files)}", is_required=True)


def check_fusion() -> Check:
    """A picture is really fused."""
    height, width = TRIAL_SIZE_HW
    ramp_hw = np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))
    try:
        with Fuser() as fuser:
            fused_hw = fuser.fuse(ramp_hw, ramp_hw[:, ::-1])
            how = f"{fuser.precision} on {fuser.backend}"
    except (ContractError, BackendError) as error:
        return Check("Test fusion", MISSING, str(error), "mend what is missing above", is_required=True)
    if fused_hw.shape != ramp_hw.shape or fused_hw.min() == fused_hw.max():
        found = f"{how} gave a flat picture or one of {fused_hw.shape}"
        return Check("Test fusion", MISSING, found, "run `irvis bench` and report it", is_required=True)
    return Check("Test fusion", OK, f"{width} x {height} pixels, {how}", is_required=True)


def check_jetson(root: Path = ROOT) -> Check:
    """What the board says of itself."""
    jetson = read_jetson(root)
    if jetson is None:
        return Check("Jetson", OK, "this machine is none")
    mode = jetson.power_mode or (
        "unknown" if jetson.power_mode_id is None else f"number {jetson.power_mode_id}"
    )
    found = f"{jetson.model}, L4T {jetson.l4t or 'unknown'}, power mode {mode}"
    if jetson.l4t is None or jetson.power_mode_id is None:
        return Check("Jetson", WARNING, found, "a board flashed by NVIDIA's tools names all three")
    return Check("Jetson", OK, found)


def check_workbench() -> Check:
    """What training, export and quantizing need; a board has none of it."""
    absent = [module for module in WORKBENCH if find_spec(module) is None]
    if absent:
        advice = "needed only to train, export or quantize: `make install` in a clone of irvis"
        return Check("Workbench", WARNING, f"without {', '.join(absent)}", advice)
    return Check("Workbench", OK, ", ".join(WORKBENCH))


def check_memory(root: Path = ROOT) -> Check:
    """Memory that is free now."""
    total_mb, free_mb = memory_mb(root), memory_mb(root, "MemAvailable")
    if total_mb is None or free_mb is None:
        return Check("Memory", WARNING, "unknown", "/proc/meminfo cannot be read")
    found = f"{free_mb} of {total_mb} MiB free"
    if free_mb < LEAST_FREE_MB:
        return Check(
            "Memory", WARNING, found, "close other programs; TensorRT fails to build engines without it"
        )
    return Check("Memory", OK, found)


def check_disk(folder: Path | None = None) -> Check:
    """Space for recordings and engines."""
    place = Path.cwd() if folder is None else folder
    free_mb = shutil.disk_usage(place).free >> 20
    if free_mb < LEAST_FREE_MB:
        return Check("Disk", WARNING, f"{free_mb} MiB free in {place}", "free some space before you record")
    return Check("Disk", OK, f"{free_mb} MiB free in {place}")
