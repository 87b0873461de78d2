"""The device wheel and its source: what is in them, and that the wheel runs where nothing but numpy is."""

from __future__ import annotations

import json
import platform
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

import irvis_runtime

MAX_WHEEL_BYTES = 12_000_000
ELF_MACHINES = {"x86_64": 62, "aarch64": 183}
"""e_machine of ELF's header."""
LIBRARIES = {machine: f"irvis_runtime/kernels/kernels-{machine}.so" for machine in ELF_MACHINES}


@pytest.fixture(scope="module")
def source(root: Path, tracked: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of runtime/: the clone keeps no build folder, from which a deleted module would return."""
    folder = tmp_path_factory.mktemp("source")
    for path in tracked:
        if path.parts[0] == "runtime":
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / path, folder / path)
    return folder / "runtime"


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """As `python -m build runtime`: the source distribution first, the wheel from that."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), str(source)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    done = build(source, target)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (made,) = built.glob("*.whl")
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


def test_is_one_for_every_board(wheel: Path) -> None:
    """The kernels of all machines are in it, so that its name says any; jetson/install.sh looks for that."""
    assert wheel.name == f"irvis_runtime-{irvis_runtime.__version__}-py3-none-any.whl"


def test_holds_the_package_and_nothing_else(wheel: Path, tracked: list[Path]) -> None:
    """The kernels compiled. Their source is in the source distribution: a board has no compiler for it."""
    package = Path("runtime")
    left_out = {"student.safetensors", "kernels.c"}
    expected = {
        path.relative_to(package).as_posix()
        for path in tracked
        if path.is_relative_to(package / "irvis_runtime") and path.name not in left_out
    }
    expected |= set(LIBRARIES.values())
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == expected
    manifests = {f"irvis_runtime/models/irvis-{size}/manifest.json" for size in "nsm"}
    assert {"irvis_runtime/py.typed", *manifests} <= names


def test_the_source_holds_what_the_kernels_are_made_of(built: Path) -> None:
    (made,) = built.glob("*.tar.gz")
    with tarfile.open(made) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"build_kernels.py", "irvis_runtime/kernels/kernels.c"} <= names
    assert not [name for name in names if name.endswith(".so")]


@pytest.mark.parametrize("machine", LIBRARIES)
def test_each_machines_kernels_are_libraries_of_that_machine(wheel: Path, machine: str) -> None:
    head = zipfile.ZipFile(wheel).read(LIBRARIES[machine])[:20]
    magic, bits, order, kind, number = struct.unpack("<4sBB10xHH", head)
    assert (magic, bits, order, kind, number) == (b"\x7fELF", 2, 1, 3, ELF_MACHINES[machine])


@pytest.mark.parametrize("machine", LIBRARIES)
def test_the_kernels_need_no_other_library(installed: Path, machine: str) -> None:
    readelf = shutil.which("readelf")
    if readelf is None:
        pytest.skip("needs readelf; on Debian: apt-get install binutils")
    command = [
        readelf,
        "--wide",
        "--dynamic",
        "--dyn-syms",
        "--segments",
        str(installed / LIBRARIES[machine]),
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "NEEDED" not in told
    functions = [line.split()[-1] for line in told.splitlines() if " FUNC " in line]
    assert {"irvis_kernels_interface", "irvis_warp"} <= set(functions)
    assert all(name.startswith("irvis_") for name in functions)
    undefined = [line for line in told.splitlines() if " UND " in line and " LOCAL " not in line]
    assert undefined == []
    stack = next(line for line in told.splitlines() if "GNU_STACK" in line)
    assert " RW " in stack
    # A Jetson's kernel may have pages of 64 KiB.
    loaded = [line.split()[-1] for line in told.splitlines() if line.strip().startswith("LOAD")]
    assert {int(align, 16) for align in loaded} == {0x1000 if machine == "x86_64" else 0x10000}


def test_every_build_has_the_same_kernels(wheel: Path, root: Path) -> None:
    """In another folder, from the source distribution: the clone's own are these, byte for byte."""
    archive = zipfile.ZipFile(wheel)
    for name in LIBRARIES.values():
        assert archive.read(name) == (root / "runtime" / name).read_bytes(), "run `make install`"


def test_the_kernels_run_with_numpy_alone(installed: Path, numpy_alone: Path) -> None:
    if platform.machine() not in LIBRARIES:
        pytest.skip(f"there are none for {platform.machine()}")
    code = """
import numpy as np
from irvis_runtime import make_context
from irvis_runtime.kernels.library import describe_kernels
print(describe_kernels())
ramp_hw = np.arange(128 * 128, dtype=np.uint16).reshape(128, 128).astype(np.uint8)
print(make_context(ramp_hw, ramp_hw)[0, 0, 0, :3].tolist())
"""
    first, second = on_board([installed, numpy_alone], code).splitlines()
    assert first == f"kernels: compiled, {platform.machine()}"
    # Pixels 0 and 1 of two rows that are 128 apart, then the next ones.
    assert second == "[64.5, 66.5, 68.5]"


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ("compiler", "error: kernels.c: expected Zig's compiler, the package ziglang of PyPI, for "),
        ("semicolon", "error: kernels.c: expected Zig to compile it for x86_64, it ended with 1: "),
    ],
)
def test_a_build_without_kernels_fails_in_one_line(
    source: Path, tmp_path: Path, missing: str, expected: str
) -> None:
    """An editable installation too, in which setuptools makes a warning of any exception."""
    copy = tmp_path / "runtime"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("models", "*.so"))
    if missing == "compiler":
        script = copy / "build_kernels.py"
        script.write_text(script.read_text().replace('"ziglang"', '"no_ziglang"'))
    else:
        kernels_c = copy / "irvis_runtime" / "kernels" / "kernels.c"
        kernels_c.write_text(kernels_c.read_text().replace("return INTERFACE;", "return INTERFACE"))
    for hook in ("build_wheel", "build_editable"):
        code = f"import setuptools.build_meta as backend; backend.{hook}({str(tmp_path)!r})"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=copy, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        last = done.stderr.rstrip().splitlines()[-1]
        assert last.startswith(expected)
        assert "Traceback" not in done.stderr
    assert list(tmp_path.glob("*.whl")) == []


def test_the_same_compiler_is_named_everywhere(root: Path) -> None:
    constraints = (root / "constraints.txt").read_text().splitlines()
    (pin,) = (line for line in constraints if line.startswith("ziglang"))
    for project in ("pyproject.toml", "runtime/pyproject.toml"):
        assert f'requires = ["setuptools>=77", "{pin}"]' in (root / project).read_text()


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
