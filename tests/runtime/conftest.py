"""What several tests of the runtime share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from irvis_runtime.__main__ import main
from irvis_runtime.errors import BackendError
from irvis_runtime.gstreamer import gst
from irvis_runtime.kernels import library
from irvis_runtime.sinks.encoders import choose_encoder


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str]]]:
    """Runs `irvis fuse` and returns its exit code and what it wrote to stderr, progress left out."""

    def run_fuse(*arguments: object) -> tuple[int, list[str]]:
        code = main(["fuse", *map(str, arguments)])
        out, err = capfd.readouterr()
        assert out == ""
        return code, [line for line in err.splitlines() if not line.startswith("fusing")]

    return run_fuse


@pytest.fixture(scope="module", params=["compiled", "uncompiled"])
def arithmetic(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs a test twice: by the kernels, and by NumPy and OpenCV as on a machine that has none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(library.SWITCH, raising=False)
        if request.param == "uncompiled":
            patch.setenv(library.SWITCH, "off")
        library._found.cache_clear()
        if request.param == "compiled" and library.kernels() is None:
            pytest.skip(library.describe_kernels())
        yield request.param
    library._found.cache_clear()


STAND_INS = Path(__file__).parent / "backends"


def _beside(name: str) -> ModuleType:
    spec = spec_from_file_location(f"irvis_tests_{name}", STAND_INS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


FAKE_CUDA = _beside("fake_cuda")
FAKE_TENSORRT = _beside("fake_tensorrt")
FAKE_ENGINE = _beside("fake_engine")


@pytest.fixture
def make_cuda() -> Callable[..., Any]:
    return FAKE_CUDA.FakeCuda  # type: ignore[no-any-return]


@pytest.fixture
def cuda(make_cuda: Callable[..., Any]) -> Any:
    """A board whose GPU shares the CPU's memory."""
    return make_cuda()


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Any], Any]:
    """Puts the stand-in of a TensorRT version where `import tensorrt` finds it, and returns it."""

    def put(version: str, cuda: Any) -> Any:
        trt = FAKE_TENSORRT.FakeTensorRt(version, cuda, FAKE_ENGINE.Runtime)
        monkeypatch.setitem(sys.modules, "tensorrt", trt)
        return trt

    return put


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Has child processes find the stand-ins; returns the file in which a build that waits tells its number.

    How a build ends there is in fake_site.py.
    """

    def put(ending: str = "") -> Path:
        site = tmp_path / "site"
        site.mkdir(exist_ok=True)
        (site / "sitecustomize.py").write_text((STAND_INS / "fake_site.py").read_text())
        paths = [str(site), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        monkeypatch.setenv("IRVIS_TEST_STAND_INS", str(STAND_INS))
        monkeypatch.setenv("IRVIS_TEST_BUILD", ending)
        monkeypatch.setenv("IRVIS_TEST_PID", str(tmp_path / "pid"))
        return tmp_path / "pid"

    return put


@pytest.fixture(scope="session")
def gstreamer() -> ModuleType:
    """The module Gst; the test is skipped where GStreamer or its Python binding is absent."""
    try:
        return gst()
    except BackendError as error:
        pytest.skip(f"GStreamer is not here: {error}")


@pytest.fixture(scope="session")
def encoder(gstreamer: ModuleType) -> str:
    """An H.264 encoder of this machine; the test is skipped where there is none."""
    try:
        return choose_encoder("generic", 1000, (120, 160))
    except BackendError as error:
        pytest.skip(str(error))
