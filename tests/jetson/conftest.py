"""A fake board: the root of a system, and recording stand-ins for the commands that change a real one."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

JETSON = Path(__file__).parents[2] / "jetson"
STUB = Path(__file__).parent / "stub.sh"

# As NVIDIA's nvidia-l4t-core writes it; REVISION is the release's only part that differs.
RELEASE_LINE = (
    "# R{major} (release), REVISION: {revision}, GCID: 38968081, BOARD: generic, EABI: aarch64, "
    "DATE: Wed Jan  8 01:49:37 UTC 2025\n"
)
APT = ("apt-cache", "apt-get", "dpkg-query")
COMMANDS = (*APT, "chgrp", "chown", "chroot", "df", "id", "sync", "systemctl", "useradd", "usermod")
# What an image of JetPack has of irvis's needs.
IMAGE_PACKAGES = ("python3-numpy", "python3-gi", "libopencv-python", "python3-libnvinfer")


# The environment of the fake board's wheel: its hash is that of b"a wheel".
FIRST = "0.1.0-py3.10-69f51477f05c"


@dataclass(frozen=True)
class Run:
    """What one call of install.sh gave."""

    code: int
    out: str
    error: str
    calls: list[str]
    """The stand-ins' command lines, in order."""

    def called(self, text: str) -> list[str]:
        """The command lines that begin with `text`."""
        return [call for call in self.calls if call.startswith(text)]

    def announced(self) -> list[str]:
        """The changes that were told, done or only planned."""
        lines = [line.strip().removeprefix("would ") for line in self.out.splitlines() if line[:1] == " "]
        return [line for line in lines if line.split()[0] in CHANGES]


# Beginnings of the command lines that change a system, and of the lines that tell of it.
CHANGING = (
    "apt-get",
    "useradd",
    "usermod",
    "chgrp",
    "chown",
    "sync",
    "python3 -m venv",
    "python -I -m pip",
    "systemctl enable",
)
CHANGES = ("add", "copy", "disable", "enable", "install", "make", "refresh", "remove", "switch", "write")


class Board:
    """A fake board with one wheel beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.state = folder / "state"
        self.wheel = folder / "irvis_runtime-0.1.0-py3-none-any.whl"
        self.environment: dict[str, str] = {}
        self._stubs = folder / "stubs"
        for name in ("etc/systemd/system", "opt", "proc/device-tree", "usr/bin"):
            (self.root / name).mkdir(parents=True)
        for made in (self.state, self._stubs):
            made.mkdir()
        for command in COMMANDS:
            (self._stubs / command).symlink_to(STUB)
        (self.root / "usr/bin/python3").symlink_to(STUB)
        self.wheel.write_bytes(b"a wheel")
        self.set_release("36", "4.3")
        (self.root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
        (self.root / "etc/group").write_text("root:x:0:\nvideo:x:44:nvidia\nrender:x:104:nvidia\n")
        (self.root / "proc/device-tree/compatible").write_bytes(
            b"nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0"
        )
        (self.state / "installed").write_text("".join(f"{name}\n" for name in IMAGE_PACKAGES))
        self.set("tensorrt", "10.3.0.30-1+cuda12.5")
        self.set("python", "3.10")
        self.set("free", "40000M")

    def set_release(self, major: str, revision: str) -> None:
        """Writes /etc/nv_tegra_release."""
        line = RELEASE_LINE.format(major=major, revision=revision)
        (self.root / "etc/nv_tegra_release").write_text(line)

    def set(self, name: str, value: str = "") -> None:
        """Sets what a stand-in answers (stub.sh lists the names)."""
        (self.state / name).write_text(value)

    def unset(self, name: str) -> None:
        """Takes back what `set` set."""
        (self.state / name).unlink()

    def make_wheel(self, version: str) -> Path:
        """A wheel of another version, out of the way of the search for one."""
        wheel = self.folder / "wheels" / f"irvis_runtime-{version}-py3-none-any.whl"
        wheel.parent.mkdir(exist_ok=True)
        wheel.write_text(version)
        return wheel

    def make_model(self) -> Path:
        """A model directory named "mine"."""
        model = self.folder / "mine"
        model.mkdir()
        (model / "manifest.json").write_text("{}")
        return model

    def install(self, *arguments: str, wheel: Path | None = None) -> Run:
        """Runs install.sh on this board with one wheel; `arguments` come last."""
        return self.call("--wheel", str(self.wheel if wheel is None else wheel), *arguments)

    def call(self, *arguments: str, script: Path = JETSON / "install.sh") -> Run:
        """Runs install.sh on this board with these arguments alone, in the board's folder."""
        calls = self.folder / "calls"
        calls.write_text("")
        environment = {
            "PATH": f"{self._stubs}:{os.environ['PATH']}",
            "STATE": str(self.state),
            "CALLS": str(calls),
            "FAKE_ROOT": str(self.root),
            **self.environment,
        }
        done = subprocess.run(
            ["bash", str(script), "--root", str(self.root), *arguments],
            cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return Run(done.returncode, done.stdout, done.stderr, calls.read_text().splitlines())

    def tree(self) -> dict[str, str]:
        """Every entry below the root: what it is, its mode, time and content."""
        return {str(path.relative_to(self.root)): _entry(path) for path in sorted(self.root.rglob("*"))}

    def current(self) -> str:
        """What PREFIX/venv points at."""
        return os.readlink(self.root / "opt/irvis/venv")

    def releases(self) -> list[str]:
        """The environments that are kept."""
        return sorted(path.name for path in (self.root / "opt/irvis/releases").glob("*"))


def _entry(path: Path) -> str:
    information = path.lstat()
    if path.is_symlink():
        content = os.readlink(path)
    elif path.is_file():
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    else:
        content = ""
    return f"{stat.filemode(information.st_mode)} {information.st_mtime_ns} {content}"


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """A fake Orin with JetPack 6.2 and a wheel beside it."""
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    return Board(tmp_path)
