from __future__ import annotations

import os
from collections.abc import Callable
from ctypes import CDLL
from importlib import metadata
from typing import Any

import pytest

from irvis_runtime.backends import cudart
from irvis_runtime.backends.cudart import Cudart, Gpu, open_cudart
from irvis_runtime.errors import BackendError


def test_the_gpu_is_told_from_its_attributes_and_versions(cuda: Any) -> None:
    assert Cudart(cuda).gpu() == Gpu("Orin", "8.7", 8, True, "12.6", "12.6")


def test_versions_with_two_digits_are_read(cuda: Any) -> None:
    cuda.runtime_version, cuda.driver_version = 11080, 13020
    gpu = Cudart(cuda).gpu()
    assert (gpu.cuda, gpu.driver) == ("11.8", "13.2")


def test_a_failed_call_names_function_reason_and_code(cuda: Any) -> None:
    cuda.failures["cudaMalloc"] = 2
    with pytest.raises(BackendError, match=r"cudaMalloc failed: out of memory \(CUDA error 2\)"):
        Cudart(cuda).allocate_device(16)
    assert cuda.calls[-1] == "cudaGetLastError"


def test_memory_is_allocated_mapped_copied_and_freed(cuda: Any) -> None:
    library = Cudart(cuda)
    stream, host, device = library.create_stream(), library.allocate_host(4), library.allocate_device(4)
    cuda.memory[host][0].raw = b"abcd"
    library.copy_to_device(device, host, 4, stream)
    assert cuda.view(device).raw == b"\0\0\0\0"
    library.synchronize(stream)
    assert cuda.view(device).raw == b"abcd"
    cuda.memory[host][0].raw = b"...."
    library.copy_to_host(host, device, 4, stream)
    library.synchronize(stream)
    assert cuda.view(library.device_address(host)).raw == b"abcd"
    library.free_device(device)
    library.free_host(host)
    library.destroy_stream(stream)
    assert set(cuda.held().values()) == {0}


def test_a_library_without_a_function_is_too_old(cuda: Any) -> None:
    del cuda.cudaGraphInstantiateWithFlags
    with pytest.raises(BackendError, match=r"11\.4 or later.*cudaGraphInstantiateWithFlags"):
        Cudart(cuda)


def test_the_first_library_with_a_device_is_taken(
    monkeypatch: pytest.MonkeyPatch, make_cuda: Callable[..., Any]
) -> None:
    broken, none, good = make_cuda(), make_cuda(devices=0), make_cuda(name=b"good")
    broken.failures["cudaGetDeviceCount"] = 35
    found = dict(zip(cudart.LIBRARIES, [broken, none, good], strict=False))
    monkeypatch.setattr(cudart, "CDLL", found.__getitem__)
    assert open_cudart().gpu().name == "good"


def test_without_any_device_every_library_is_named(
    monkeypatch: pytest.MonkeyPatch, make_cuda: Callable[..., Any]
) -> None:
    def load(name: str) -> Any:
        if name.endswith(".13"):
            return make_cuda(devices=0)
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(cudart, "CDLL", load)
    with pytest.raises(BackendError, match=r"libcudart\.so: not installed.*\.so\.13: no device") as caught:
        open_cudart()
    assert "\n" not in str(caught.value)


def test_the_real_library_has_all_functions_and_tells_its_errors() -> None:
    """With libcudart of a Python package: it loads without a driver, and then says so."""
    library = Cudart(CDLL(installed_cudart()))
    if os.path.exists("/proc/driver/nvidia/version"):
        assert library.device_count() >= 0
        return
    with pytest.raises(BackendError, match=r"cudaGetDeviceCount failed: .*driver.* \(CUDA error 35\)"):
        library.device_count()


def installed_cudart() -> str:
    for package in ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime-cu11"):
        try:
            files = metadata.files(package) or []
        except metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.name.startswith("libcudart.so"):
                return os.fspath(file.locate())
    pytest.skip("needs libcudart of the Python package nvidia-cuda-runtime")
