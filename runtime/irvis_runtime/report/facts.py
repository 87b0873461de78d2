"""The circumstances of a bench: machine, model, teacher and pictures, as tables of two columns."""

from __future__ import annotations

import json
from collections.abc import Sequence

from irvis_runtime.bench.file import Bench, MachineState
from irvis_runtime.board import Board

from .numbers import students, title
from .tables import Cell, Table

UNKNOWN = "unknown"
SHOWN_COMMIT = 12


def machine_facts(bench: Bench) -> Table:
    """What the bench ran on."""
    board, load = bench.board, bench.load
    instructions = ", ".join(board.instruction_sets) or "none of those that matter"
    facts = {
        **_jetson_facts(board),
        "CPU": f"{board.cpu}, {board.cores} cores, {board.architecture}",
        "Instruction sets": f"{instructions} ({'fast' if board.has_fast_int8 else 'no fast'} 8-bit integers)",
        "Memory": f"{board.memory_mb} MiB" if board.memory_mb is not None else UNKNOWN,
        "Linux kernel": board.kernel,
        "irvis's kernels": bench.timing.kernels,
        "Python": board.python,
        **{f"{name} version": version for name, version in board.versions.items()},
        "Load before and after": f"{_load(load.before)}; {_load(load.after)}",
        "Was it busy": "yes, others used it" if load.was_busy else "no",
        "Temperature before and after": f"{_warmest(load.before)}; {_warmest(load.after)}",
    }
    return facts_table("Machine", facts)


def model_facts(bench: Bench) -> Table:
    """What was measured, with what it takes to know it again."""
    facts = {"Model": bench.model.name}
    facts |= {f"{title(name)} sha256": sha256 for name, sha256 in bench.model.files.items()}
    facts |= {
        f"{title(item.name)} ran on": _engine(item.engine.backend, item.engine.versions)
        for item in students(bench)
        if item.engine
    }
    if bench.teacher:
        facts["Teacher"] = f"{bench.teacher.name} ({_teacher_kind(bench.teacher.kind)})"
    facts["Pairs"] = f"{bench.pairs_of.count} from {bench.pairs_of.folder}, sha256 {bench.pairs_of.sha256}"
    facts |= {
        f"Provenance: {key}": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in bench.model.provenance.items()
    }
    return facts_table("Model, teacher and pictures", facts)


def subtitle(benches: Sequence[Bench]) -> str:
    """When and with what, in a line."""
    dates = sorted(bench.date for bench in benches)
    when = dates[0] if len(set(dates)) == 1 else f"{dates[0]} to {dates[-1]}"
    versions = ", ".join(sorted({bench.irvis for bench in benches}))
    found = [bench.model.provenance.get("commit") for bench in benches]
    commits = {str(commit)[:SHOWN_COMMIT] for commit in found if commit}
    of = f", model of commit {', '.join(sorted(commits))}" if commits else ""
    return f"Measured {when} with irvis {versions}{of}."


def facts_table(caption: str, facts: dict[str, str]) -> Table:
    """A table of names and values."""
    rows = tuple((Cell(name, "text"), Cell(value, "text")) for name, value in facts.items())
    return Table(caption=caption, head=(), rows=rows)


def _jetson_facts(board: Board) -> dict[str, str]:
    if board.jetson is None:
        return {}
    mode = board.jetson.power_mode or UNKNOWN
    number = "" if board.jetson.power_mode_id is None else f" (mode {board.jetson.power_mode_id})"
    return {
        "Board": board.jetson.model,
        "L4T": board.jetson.l4t or UNKNOWN,
        "Power mode": f"{mode}{number}",
    }


def _load(state: MachineState) -> str:
    average = "load unknown" if state.load_average is None else f"load {state.load_average:.2f}"
    return f"{average}, {state.cpu_share:.0%} of the cores free"


def _warmest(state: MachineState) -> str:
    if not state.temperatures_c:
        return "not measured"
    zone = max(state.temperatures_c, key=lambda name: state.temperatures_c[name])
    return f"{state.temperatures_c[zone]:.1f} °C ({zone})"


def _engine(backend: str, versions: dict[str, str]) -> str:
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{backend} ({listed})" if listed else backend


def _teacher_kind(kind: str) -> str:
    return {
        "pictures": "its pictures, made beforehand",
        "onnx": "its ONNX file",
        "model": "a model directory, FP32",
    }.get(kind, kind)
