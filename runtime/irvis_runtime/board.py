"""What this machine is: from procfs, sysfs and the files of a Jetson, below a root that tests replace."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from .errors import BackendError
from .gstreamer import gst

ROOT = Path("/")

# Instructions with which 8-bit integer multiply-accumulate beats float32 in ONNX Runtime's CPU kernels.
FAST_INT8 = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")
# Shown as well, because the float kernels use them.
INSTRUCTION_SETS = (*FAST_INT8, "avx2", "avx512f", "fma", "asimd", "fphp", "sve")

# Arm's "CPU part" numbers of implementer 0x41, from the cores' technical reference manuals (MIDR_EL1).
ARM_PARTS = {
    0xD03: "Cortex-A53",
    0xD07: "Cortex-A57",
    0xD08: "Cortex-A72",
    0xD0B: "Cortex-A76",
    0xD0C: "Neoverse-N1",
    0xD40: "Neoverse-V1",
    0xD41: "Cortex-A78",
    0xD42: "Cortex-A78AE",
    0xD49: "Neoverse-N2",
    0xD4F: "Neoverse-V2",
}
MODULES = {
    "numpy": "numpy",
    "opencv": "cv2",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "tensorrt": "tensorrt",
}


@dataclass(frozen=True)
class Jetson:
    """What only a Jetson has; None where its file is missing."""

    model: str
    """As the device tree names it."""
    l4t: str | None
    """NVIDIA's Linux release, such as "36.4.3"."""
    power_mode_id: int | None
    power_mode: str | None
    """The name of the nvpmodel mode, such as "MAXN_SUPER"."""


@dataclass(frozen=True)
class Board:
    """A machine, without anything that names its owner."""

    architecture: str
    cpu: str
    cores: int
    """Cores that this process may use."""
    instruction_sets: tuple[str, ...]
    has_fast_int8: bool
    memory_mb: int | None
    kernel: str
    python: str
    jetson: Jetson | None
    versions: dict[str, str]
    """Of numpy, OpenCV, ONNX Runtime, OpenVINO, TensorRT and GStreamer, as far as they can be imported."""


def read_board(root: Path = ROOT) -> Board:
    """Reads what this machine is; what it does not tell is None or "unknown"."""
    return Board(
        architecture=platform.machine() or "unknown",
        cpu=cpu_model(root),
        cores=len(os.sched_getaffinity(0)),
        instruction_sets=instruction_sets(root),
        has_fast_int8=has_fast_int8(root),
        memory_mb=memory_mb(root),
        kernel=_read(root, "proc/sys/kernel/osrelease") or platform.release(),
        python=platform.python_version(),
        jetson=read_jetson(root),
        versions=module_versions(),
    )


def has_fast_int8(root: Path = ROOT) -> bool:
    """Whether the CPU has dot-product instructions on 8-bit integers (VNNI, AMX; on Arm DotProd, I8MM)."""
    return bool(_cpu_flags(root).intersection(FAST_INT8))


def instruction_sets(root: Path = ROOT) -> tuple[str, ...]:
    """The CPU's instruction sets that matter to a network, by their names in /proc/cpuinfo."""
    flags = _cpu_flags(root)
    return tuple(name for name in INSTRUCTION_SETS if name in flags)


def cpu_model(root: Path = ROOT) -> str:
    """The CPU's name; on Arm, where Linux gives a number, the core's."""
    fields = _cpuinfo(root)
    if name := fields.get("model name"):
        return " ".join(name.split())
    part, implementer = fields.get("CPU part", ""), fields.get("CPU implementer", "")
    if re.fullmatch("0x[0-9a-fA-F]+", part):
        known = ARM_PARTS.get(int(part, 16)) if implementer.lower() == "0x41" else None
        return known or f"Arm implementer {implementer or 'unknown'} part {part}"
    return "unknown"


def memory_mb(root: Path = ROOT, field: str = "MemTotal") -> int | None:
    """A line of /proc/meminfo in MiB; None where it is missing."""
    found = re.search(rf"^{field}:\s+(\d+) kB", _read(root, "proc/meminfo") or "", re.MULTILINE)
    return int(found[1]) // 1024 if found else None


def load_average(root: Path = ROOT) -> float | None:
    """The mean number of runnable tasks over the last minute; None where the system does not tell."""
    found = re.match(r"\d+\.\d+", _read(root, "proc/loadavg") or "")
    return float(found[0]) if found else None


def temperatures_c(root: Path = ROOT) -> dict[str, float]:
    """Degrees Celsius by thermal zone; zones that are switched off are left out."""
    zones: dict[str, float] = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        name, value = _read(zone, "type"), _read(zone, "temp")
        # A zone whose sensor sleeps fails to read or gives -256 degrees (Jetson's cv zones).
        if name and value and re.fullmatch(r"-?\d+", value) and int(value) > -200_000:
            zones[name] = int(value) / 1000
    return zones


def read_jetson(root: Path = ROOT) -> Jetson | None:
    """What the files of a Jetson tell; None on any other machine."""
    model = (_read(root, "proc/device-tree/model") or "").rstrip("\0")
    release = _read(root, "etc/nv_tegra_release")
    if release is None and "jetson" not in model.lower():
        return None
    mode_id = _power_mode_id(root)
    return Jetson(
        model=model or "unknown",
        l4t=_l4t(release or ""),
        power_mode_id=mode_id,
        power_mode=_power_mode_name(root, mode_id),
    )


def module_versions() -> dict[str, str]:
    """Versions of the modules that do the work; one that cannot be imported is left out."""
    versions = {}
    for name, module in MODULES.items():
        version, _ = module_version(module)
        if version is not None:
            versions[name] = version
    gstreamer, _ = gstreamer_version()
    return versions | ({"gstreamer": gstreamer} if gstreamer else {})


def module_version(module: str) -> tuple[str | None, str]:
    """The version of a module that was really imported, or None and why it cannot be."""
    try:
        imported = import_module(module)
    except Exception as error:
        # TensorRT's stub wheels and broken shared libraries raise more than ImportError.
        return None, _first_line(error)
    return str(getattr(imported, "__version__", "unknown")), ""


def gstreamer_version() -> tuple[str | None, str]:
    """The version of GStreamer as seen through PyGObject, or None and why there is none."""
    try:
        version = gst().version()
    except BackendError as error:
        return None, str(error)
    return ".".join(str(part) for part in version[:3]), ""


def board_slug(board: Board) -> str:
    """A name of the board and its power mode that suits a file: `bench/<slug>-<date>.json`."""
    if board.jetson is None:
        parts = [board.architecture, _without_marks(board.cpu) if board.cpu != "unknown" else ""]
    else:
        parts = [_short_model(board.jetson), board.jetson.power_mode or ""]
    return "-".join(filter(None, map(_slug, parts))) or "unknown"


def describe(board: Board) -> str:
    """The board in a few words, for a heading."""
    if board.jetson is None:
        return f"{_without_marks(board.cpu)}, {board.cores} {'core' if board.cores == 1 else 'cores'}"
    mode = f", {board.jetson.power_mode}" if board.jetson.power_mode else ""
    return f"{_short_model(board.jetson)}{mode}"


def _short_model(jetson: Jetson) -> str:
    """What tells one Jetson from another in its device tree's name."""
    return " ".join(
        re.sub(r"(?i)\b(nvidia|developer kit|engineering reference)\b", " ", jetson.model).split()
    )


def _without_marks(cpu: str) -> str:
    """A CPU's name without "(R)", "(TM)" and its clock."""
    return " ".join(re.sub(r"(?i)\((r|tm)\)|@.*", " ", cpu).split())


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _l4t(release: str) -> str | None:
    """From "# R36 (release), REVISION: 4.3, GCID: ..."."""
    found = re.search(r"R(\d+) \(release\), REVISION: (\d+(?:\.\d+)*)", release)
    return f"{found[1]}.{found[2]}" if found else None


def _power_mode_id(root: Path) -> int | None:
    """From "pmode:0002 fmode:..."."""
    found = re.search(r"pmode:(\d+)", _read(root, "var/lib/nvpmodel/status") or "")
    return int(found[1]) if found else None


def _power_mode_name(root: Path, mode_id: int | None) -> str | None:
    """From nvpmodel.conf's "< POWER_MODEL ID=2 NAME=MAXN_SUPER >"; the numbers differ between boards."""
    modes = re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", _read(root, "etc/nvpmodel.conf") or "")
    return {int(number): name for number, name in modes}.get(-1 if mode_id is None else mode_id)


def _cpu_flags(root: Path) -> set[str]:
    fields = _cpuinfo(root)
    return set(f"{fields.get('flags', '')} {fields.get('Features', '')}".split())


def _cpuinfo(root: Path) -> Mapping[str, str]:
    """The fields of the first core that has them."""
    fields: dict[str, str] = {}
    for line in (_read(root, "proc/cpuinfo") or "").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip(), value.strip())
    return fields


def _read(root: Path, name: str) -> str | None:
    """The text of a small system file without its last newline; None where it cannot be read."""
    try:
        return (root / name).read_bytes().decode(errors="replace").strip()
    except OSError:
        return None


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
