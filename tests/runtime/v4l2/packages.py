"""Debian's kernel, QEMU, udev and busybox, unpacked into a cache folder and installed nowhere."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

KERNEL = "linux-image-amd64"
PACKAGES = ("qemu-system-x86", "udev", "busybox-static")
MERGED = ("bin", "lib", "lib64", "sbin")
TIMEOUT_S = 600


class MissingPackagesError(Exception):
    """Why the machine's packages cannot be had here, in one line."""


def cache_folder() -> Path:
    """Where the packages are kept: outside of the repository, and of no value but the time to fetch them."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "irvis-tests" / "v4l2"


def fetch_packages() -> Path:
    """Returns a folder that holds the packages as a merged-/usr root; MissingPackagesError says why not."""
    for program in ("apt-get", "dpkg-deb", "tar"):
        if shutil.which(program) is None:
            raise MissingPackagesError(f"needs {program}: the virtual machine is made of Debian packages")
    if _said("dpkg", "--print-architecture").strip() != "amd64":
        raise MissingPackagesError("needs an amd64 machine: the virtual machine runs this system's programs")
    kernel = _newest_kernel()
    root = cache_folder() / kernel
    if root.is_dir():
        return root
    cache_folder().mkdir(parents=True, exist_ok=True)
    part = Path(f"{root}.part")
    shutil.rmtree(part, ignore_errors=True)
    (part / "debs").mkdir(parents=True)
    _said("apt-get", "download", kernel, *_absent_packages(), cwd=part / "debs")
    _unpack(part)
    part.rename(root)
    return root


def _newest_kernel() -> str:
    """The package that the meta package depends on now."""
    for line in _said("apt-cache", "depends", KERNEL).splitlines():
        if line.strip().startswith("Depends: linux-image"):
            return line.split()[-1]
    raise MissingPackagesError(f"apt-cache knows no {KERNEL}; run apt-get update")


def _absent_packages() -> list[str]:
    """What apt would install for PACKAGES, as their own programs here do not count on this system's."""
    plan = _said("apt-get", "install", "--simulate", "--no-install-recommends", "--reinstall", *PACKAGES)
    return sorted({line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")})


def _unpack(root: Path) -> None:
    for name in MERGED:
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for package in sorted((root / "debs").glob("*.deb")):
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as archive:
            unpack = ["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", str(root)]
            subprocess.run(unpack, stdin=archive.stdout, check=True, timeout=TIMEOUT_S)
    shutil.rmtree(root / "debs")


def _said(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=TIMEOUT_S, env=_english()
    )
    if done.returncode:
        why = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()[-1]
        raise MissingPackagesError(f"`{' '.join(command)}` failed: {why}")
    return done.stdout


def _english() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}
