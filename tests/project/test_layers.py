"""Who may import whom, checked here and by ruff, and that ruff's own rule fires."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("runtime", "export", "quantize", "train")
ALLOWED = {
    "runtime": (),
    "export": (
        "irvis_runtime",
        "irvis_train.student",
        "irvis_train.ends",
        "irvis_train.student_files",
        "irvis_train.teacher",
    ),
    # Export runs first and lints what it writes; quantize lints what it makes of it, by the same rules.
    "quantize": ("irvis_runtime", "irvis_export.graph", "irvis_export.lint"),
    "train": ("irvis_runtime",),
}
HEAVY = (
    "cv2",
    "gi",
    "onnx",
    "onnxruntime",
    "onnxsim",
    "open_clip",
    "openvino",
    "safetensors",
    "tensorrt",
    "torch",
    "torchvision",
)


def modules(root: Path, tracked: list[Path], stage: str) -> list[Path]:
    found = [
        path
        for path in tracked
        if path.is_relative_to(Path(stage) / f"irvis_{stage}") and path.suffix == ".py"
    ]
    assert found, stage
    return found


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported anywhere in a file, also by name through import_module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield f"{'.' * node.level}{node.module or ''}"
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (str(a.value) for a in node.args[:1] if isinstance(a, ast.Constant))


@pytest.mark.parametrize("stage", PACKAGES)
def test_nobody_imports_upward(stage: str, root: Path, tracked: list[Path]) -> None:
    own = f"irvis_{stage}"
    wrong = []
    for path in modules(root, tracked, stage):
        for name in imported(ast.parse((root / path).read_text())):
            stranger = name.startswith("irvis_") and name.split(".")[0] != own
            if stranger and not any(
                name == edge or (edge == "irvis_runtime" and name.startswith(f"{edge}."))
                for edge in ALLOWED[stage]
            ):
                wrong.append(f"{path}: {name}")
    assert wrong == []


def test_runtime_knows_neither_torch_nor_onnx(root: Path, tracked: list[Path]) -> None:
    wrong = []
    for path in modules(root, tracked, "runtime"):
        names = imported(ast.parse((root / path).read_text()))
        wrong += [
            f"{path}: {name}"
            for name in names
            if name.split(".")[0] in ("torch", "onnx", "onnxsim", "torchvision")
        ]
    assert wrong == []


def top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """What runs when a module is imported; what only type checkers see is left out."""
    for node in body:
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            yield from top_level([*node.body, *node.orelse])
        if isinstance(node, ast.Try):
            yield from top_level([*node.body, *node.orelse, *(s for h in node.handlers for s in h.body)])


def test_runtime_imports_numpy_and_the_standard_library_alone(root: Path, tracked: list[Path]) -> None:
    # tomli is tomllib for Python 3.10.
    free = {*sys.stdlib_module_names, "numpy", "irvis_runtime", "tomli"}
    wrong = []
    for path in modules(root, tracked, "runtime"):
        for node in top_level(ast.parse((root / path).read_text()).body):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            wrong += [f"{path}: {name}" for name in names if name.split(".")[0] not in free]
    assert wrong == []


def test_every_runtime_module_imports_with_numpy_alone(root: Path, numpy_alone: Path) -> None:
    """The proof of the test above, without a wheel; test_wheel.py has the whole."""
    code = f"""
import importlib, pkgutil, sys
sys.path[:0] = [{str(root / "runtime")!r}, {str(numpy_alone)!r}]
import irvis_runtime
found = [m.name for m in pkgutil.walk_packages(irvis_runtime.__path__, "irvis_runtime.")]
# The kernels' libraries look like extension modules, and are none: ctypes opens them.
found = [name for name in found if name.rpartition(".")[2].isidentifier()]
for name in found:
    importlib.import_module(name)
print(len(found))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40


def test_importing_irvis_loads_nothing_heavy() -> None:
    """Where everything is installed, too: `irvis --help` must not wait for OpenCV."""
    code = "import sys, irvis_runtime, irvis_runtime.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "irvis_runtime" in loaded
    assert loaded.isdisjoint(HEAVY)


def ruff_codes(root: Path, file: str, code: str) -> set[str]:
    """What ruff finds in code that would lie in that file."""
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--no-cache",
        "--output-format",
        "json",
        "--stdin-filename",
        file,
        "-",
    ]
    done = subprocess.run(command, cwd=root, input=code, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return {str(finding["code"]) for finding in json.loads(done.stdout)}


@pytest.mark.parametrize(
    "line",
    [
        "import torch",
        "import torch.nn",
        "import onnx",
        "from onnx import helper",
        "from irvis_train.student import Student",
        "import irvis_export",
        "from irvis_quantize import int8",
    ],
)
def test_ruff_bans_upper_layers_in_runtime(line: str, root: Path) -> None:
    assert "TID251" in ruff_codes(
        root, "runtime/irvis_runtime/offender.py", f'"""An offender."""\n\n{line}\n'
    )
    assert "TID251" in ruff_codes(
        root, "runtime/irvis_runtime/sinks/offender.py", f'"""An offender."""\n\n{line}\n'
    )


def test_ruff_lets_the_rest_pass(root: Path) -> None:
    code = '"""No offender."""\n\nfrom .errors import BackendError\n\n__all__ = ["BackendError"]\n'
    assert ruff_codes(root, "runtime/irvis_runtime/innocent.py", code) == set()
    code = '"""No offender."""\n\nimport torch\n\n__all__ = ["torch"]\n'
    assert ruff_codes(root, "train/irvis_train/innocent.py", code) == set()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("from ..errors import BackendError", "TID252"),
        ("print(1)", "T201"),
        ("assert 1", "S101"),
        ("import os.path as path", "F401"),
    ],
)
def test_ruff_keeps_the_house_rules(code: str, expected: str, root: Path) -> None:
    assert expected in ruff_codes(
        root, "runtime/irvis_runtime/sinks/offender.py", f'"""An offender."""\n\n{code}\n'
    )
