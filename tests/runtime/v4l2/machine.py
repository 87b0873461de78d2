"""A virtual x86 machine with Debian's kernel and this system's files, for drivers that this kernel lacks.

The host's `/` is the guest's, read-only below an overlay in memory: the guest runs the very Python and code
that the tests run with. One folder is shared for writing and lies at the same path on both sides.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

GUEST = Path(__file__).parent / "guest"
# 9p for the files, overlayfs for what is written, vivid for the cameras.
MODULES = ("virtio_pci", "9p", "9pnet_virtio", "overlay", "vivid")
# Two webcams, each with one capture node; by default vivid is a dozen kinds of device.
VIVID_OPTIONS = "n_devs=2 node_types=0x1,0x1 num_inputs=1,1 input_types=0,0"
MEMORY_MIB = 1536
BOOT_S = 600
"""20 s are usual, 70 s on a busy machine."""


class Machine:
    """A running guest; `folder` is shared with it. Raises RuntimeError with the console's end if it dies."""

    def __init__(self, packages: Path, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self._console = folder / "console.log"
        early, late = _split(module_files(packages))
        settings = {
            **environment,
            "EARLY": " ".join(path.name for path in early),
            "LATE": " ".join(f"/{path.relative_to(packages)}" for path in late),
            "VIVID_OPTIONS": VIVID_OPTIONS,
            "SHARED": str(folder),
            "START": str(GUEST / "start.sh"),
            "PYTHON": sys.executable,
            "AGENT": str(GUEST / "agent.py"),
        }
        initramfs = folder / "initramfs"
        initramfs.write_bytes(_initramfs(packages, early, settings))
        self._process = subprocess.Popen(
            _command(packages, initramfs, folder, self._console),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "qemu.log").open("wb"),
            env={**os.environ, "LD_LIBRARY_PATH": str(packages / "usr/lib/x86_64-linux-gnu")},
        )
        self._answer(BOOT_S)

    def run(self, command: str, timeout_s: float = 300) -> str:
        """Runs a shell command as root in the guest; returns its output, RuntimeError where it fails."""
        code, output = self.attempt(command, timeout_s)
        if code:
            raise RuntimeError(f"{command!r} exited with {code} in the guest: {output.strip()}")
        return output

    def attempt(self, command: str, timeout_s: float = 300) -> tuple[int, str]:
        """Runs a shell command as root in the guest; returns its exit code and what it said."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"command": command}).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._answer(timeout_s)
        return answer["code"], answer["output"]

    def set_control(self, device: str, name: str, value: int) -> None:
        """Sets a control of a video device."""
        self.run(shlex.join([sys.executable, "-S", str(GUEST / "control.py"), device, name, str(value)]))

    def close(self) -> None:
        """Ends the guest at once; nothing of it is worth keeping."""
        self._process.kill()
        self._process.communicate()

    def _answer(self, timeout_s: float) -> dict[str, Any]:
        """The agent's next line; a guest that hangs is ended."""
        assert self._process.stdout is not None
        watchdog = threading.Timer(timeout_s, self._process.kill)
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            logs = (self.folder / "qemu.log", self._console)
            said = "".join(log.read_text(errors="replace")[-3000:] for log in logs if log.exists())
            raise RuntimeError(f"the guest ended, or was silent for {timeout_s:.0f} s:\n{said}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _command(packages: Path, initramfs: Path, folder: Path, console: Path) -> Sequence[str | Path]:
    kernel = next((packages / "boot").glob("vmlinuz-*"))
    share = "security_model=none,multidevs=remap"
    # KVM may be there and hang (nested machines do); TCG runs everywhere. It computes FMA in software: a
    # processor without AVX2 makes the FP32 model ten times as fast.
    return (
        *("nice", "-n", "10", packages / "usr/bin/qemu-system-x86_64", "-L", packages / "usr/share/qemu"),
        *("-L", packages / "usr/share/seabios", "-L", packages / "usr/lib/ipxe/qemu"),
        *("-accel", "tcg", "-cpu", "Nehalem", "-smp", "1", "-m", str(MEMORY_MIB)),
        *("-no-reboot", "-display", "none", "-nic", "none", "-kernel", kernel, "-initrd", initramfs),
        *("-append", "console=ttyS0 quiet panic=-1 mitigations=off"),
        *("-serial", f"file:{console}", "-serial", "stdio"),
        *("-virtfs", f"local,path=/,mount_tag=host,readonly=on,{share}"),
        *("-virtfs", f"local,path={packages},mount_tag=packages,readonly=on,{share}"),
        *("-virtfs", f"local,path={folder},mount_tag=shared,{share}"),
    )


def module_files(packages: Path) -> list[Path]:
    """MODULES and what they depend on, in the order in which they load."""
    folder = next((packages / "lib/modules").iterdir())
    found = {path.stem.replace("-", "_"): path for path in folder.rglob("*.ko")}
    ordered: list[Path] = []

    def add(name: str) -> None:
        path = found[name.replace("-", "_")]
        match = re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())
        assert match is not None
        for needed in match[1].decode().split(","):
            if needed:
                add(needed)
        if path not in ordered:
            ordered.append(path)

    for name in MODULES:
        add(name)
    return ordered


def _split(modules: list[Path]) -> tuple[list[Path], list[Path]]:
    """Those without which the guest sees no files, and the cameras'."""
    late = [path for path in modules if "media" in path.parts]
    return [path for path in modules if path not in late], late


def _initramfs(packages: Path, modules: list[Path], settings: Mapping[str, str]) -> bytes:
    """Busybox, the modules and `init`, as the kernel's cpio archive."""
    exports = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in settings.items())
    files = {
        "init": ((GUEST / "init.sh").read_bytes(), 0o755),
        "settings": (exports.encode(), 0o644),
        "busybox": ((packages / "usr/bin/busybox").read_bytes(), 0o755),
        **{path.name: (path.read_bytes(), 0o644) for path in modules},
    }
    return b"".join(_entry(name, *value) for name, value in files.items()) + _entry("TRAILER!!!", b"", 0)


def _entry(name: str, content: bytes, mode: int) -> bytes:
    """One regular file in the "newc" form of cpio: eight hexadecimal digits a field, padded to four bytes."""
    numbers = (0, 0o100000 | mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + name.encode() + b"\0"
    return b"".join(part + bytes(-len(part) % 4) for part in (head, content))
