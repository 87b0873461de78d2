"""The stand-in for TensorRT has no name that the real bindings lack, version by version.

The bindings of PyPI import without a GPU when libraries that define their symbols stand in for NVIDIA's.
"""

from __future__ import annotations

import inspect
import json
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BINDINGS = {
    "10.3.0": "tensorrt-cu12-bindings",
    "11.4.0.106": "tensorrt-cu13-bindings",
}
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
SYMBOLS = [
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
]

# Runs where the bindings are: prints all names of the classes asked for, and what the logger kept.
SCRIPT = """
import json, sys
import tensorrt_bindings as trt
from irvis_runtime.backends.tensorrt_api import message_log
log = message_log(trt)
log.log(trt.ILogger.WARNING, "a warning")
log.log(trt.ILogger.ERROR, "an error")
names = {name: dir(getattr(trt, name)) for name in json.loads(sys.argv[1])}
print(json.dumps({"version": trt.__version__, "errors": list(log.errors), "names": names}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("version", list(BINDINGS))
def test_the_names_are_those_of_the_real_bindings(
    version: str, fake_classes: dict[str, type], cuda: Any, install: Callable[..., Any], tmp_path: Path
) -> None:
    assert {"Builder", "IExecutionContext", "ILogger", "OnnxParser"} <= set(fake_classes)
    public = {name: {key for key in dir(kind) if key[0] != "_"} for name, kind in fake_classes.items()}
    expected = public | fake_enumerations(install(version, cuda))
    real = ask_bindings(version, sorted(expected), tmp_path)
    assert real["version"] == version
    assert real["errors"] == ["an error"]
    for name, members in expected.items():
        assert members <= set(real["names"][name]), name


@pytest.mark.slow
def test_version_11_has_no_precision_flags(tmp_path: Path) -> None:
    newest = ask_bindings("11.4.0.106", ["BuilderFlag"], tmp_path)["names"]
    assert not {"FP16", "INT8"} & set(newest["BuilderFlag"])


def fake_enumerations(trt: Any) -> dict[str, set[str]]:
    names = ("NetworkDefinitionCreationFlag", "BuilderFlag", "MemoryPoolType", "TensorIOMode", "DataType")
    return {name: {member.name for member in getattr(trt, name)} for name in names}


def ask_bindings(version: str, names: list[str], folder: Path) -> dict[str, Any]:
    compiler = shutil.which("cc")
    if compiler is None or platform.machine() != "x86_64":
        pytest.skip("needs a C compiler on x86-64")
    folder.mkdir(exist_ok=True)
    (wheel,) = download(f"{BINDINGS[version]}=={version}", folder)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    source = folder / "symbols.c"
    source.write_text("".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in SYMBOLS))
    for library in LIBRARIES:
        name = f"lib{library}.so.{version.split('.')[0]}"
        options = ["-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name)]
        subprocess.run([compiler, *options, str(source)], check=True)
    runtime = Path(inspect.getfile(pytest.importorskip("irvis_runtime"))).parents[1]
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(names)],
        env={"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": f"{folder}:{runtime}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    loaded: dict[str, Any] = json.loads(answer.stdout)
    return loaded


def download(requirement: str, folder: Path) -> list[Path]:
    """The wheel for this Python; skips the test where PyPI is out of reach or has none."""
    options = [
        "--no-deps",
        "--only-binary=:all:",
        "--retries",
        "0",
        "--timeout",
        "15",
        "-q",
        "-d",
        str(folder),
    ]
    command = [sys.executable, "-m", "pip", "download", *options, requirement]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        pytest.skip(f"needs {requirement} from PyPI: {answer.stderr.strip().splitlines()[-1]}")
    return list(folder.glob("*.whl"))
