"""The device wheel: what is in it, and that it runs where nothing but numpy is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

import irvis_runtime

MAX_WHEEL_BYTES = 12_000_000


@pytest.fixture(scope="module")
def wheel(root: Path, tracked: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that the clone keeps no build folder from which a deleted module would return."""
    folder = tmp_path_factory.mktemp("wheel")
    for path in tracked:
        if path.parts[0] == "runtime":
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / path, folder / path)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist")]
    done = subprocess.run([*command, str(folder / "runtime")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = (folder / "dist").iterdir()
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*command, "--target", str(target), str(wheel)], check=True)
    return target


def on_board(paths: list[Path], code: str) -> str:
    """What Python prints that can import the standard library and these folders alone."""
    start = f"import sys; sys.path[:0] = {[str(path) for path in paths]!r}\n"
    command = [sys.executable, "-I", "-S", "-c", start + code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_is_pure_python_for_every_board(wheel: Path) -> None:
    assert wheel.name == f"irvis_runtime-{irvis_runtime.__version__}-py3-none-any.whl"


def test_holds_the_package_and_nothing_else(wheel: Path, tracked: list[Path]) -> None:
    package = Path("runtime")
    expected = {
        path.relative_to(package).as_posix()
        for path in tracked
        if path.is_relative_to(package / "irvis_runtime") and path.name != "student.safetensors"
    }
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == expected
    manifests = {f"irvis_runtime/models/irvis-{size}/manifest.json" for size in "nsm"}
    assert {"irvis_runtime/py.typed", *manifests} <= names


def test_is_small_with_all_its_models(wheel: Path) -> None:
    assert wheel.stat().st_size < MAX_WHEEL_BYTES


def test_says_what_it_needs(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
    metadata = HeaderParser().parsestr(archive.read(name).decode())
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["License-Expression"] == "Apache-2.0"
    always = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert [line.split(">")[0] for line in always] == ["numpy", "tomli"]
    assert 'python_version < "3.11"' in always[1]


def test_brings_its_licence(wheel: Path, root: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (name,) = (n for n in archive.namelist() if n.endswith("/LICENSE"))
    assert archive.read(name).decode() == (root / "LICENSE").read_text()


def test_imports_with_numpy_alone(installed: Path, numpy_alone: Path) -> None:
    code = """
import irvis_runtime

MAX_WHEEL_BYTES = 12_000_000
print(irvis_runtime.__version__, irvis_runtime.__file__)
from importlib.metadata import entry_points, version
print(version("irvis-runtime"), [e.value for e in entry_points(group="console_scripts")])
"""
    first, second = on_board([installed, numpy_alone], code).splitlines()
    assert first == f"{irvis_runtime.__version__} {installed / 'irvis_runtime' / '__init__.py'}"
    assert second == f"{irvis_runtime.__version__} ['irvis_runtime.__main__:main']"


@pytest.mark.parametrize("name", ["irvis-n", "irvis-s", "irvis-m"])
def test_its_models_pass_their_checks(installed: Path, numpy_alone: Path, name: str) -> None:
    code = f"""
import json
from irvis_runtime.contract import checked_model_path, load_manifest
from irvis_runtime.shipped_models import shipped_model_dir
folder = shipped_model_dir({name!r})
manifest = load_manifest(folder)
print(json.dumps({{p: str(checked_model_path(folder, manifest, p)) for p in manifest.files}}))
"""
    found = json.loads(on_board([installed, numpy_alone], code))
    assert {"fp32", "fp16", "int8"} <= set(found)
    assert all(Path(path).is_relative_to(installed) for path in found.values())
