"""A report goes over an older report and over nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from irvis_runtime.bench.file import Model
from irvis_runtime.errors import ContractError
from irvis_runtime.report.command import write_report

from .benches import make_bench, write_bench


def write_report_of_two_models(folder: Path) -> tuple[Path, ...]:
    other = replace(make_bench(), model=Model("irvis-y", {"fp32": "9" * 64}, {}))
    benches = [write_bench(folder / name, bench) for name, bench in (("x", make_bench()), ("y", other))]
    return write_report(benches, folder / "notes.html", "irvis report")


def test_a_report_goes_over_an_older_one(tmp_path: Path) -> None:
    first = {path: path.read_bytes() for path in write_report_of_two_models(tmp_path)}
    assert {path.name for path in first} == {"notes.html", "notes.md", "notes_pareto.svg"}
    (tmp_path / "notes.md").write_text("")
    second = {path: path.read_bytes() for path in write_report_of_two_models(tmp_path)}
    assert second == first


@pytest.mark.parametrize("name", ["notes.md", "notes.html", "notes_pareto.svg"])
def test_what_a_person_wrote_stays(tmp_path: Path, name: str) -> None:
    notes = tmp_path / name
    notes.write_text("# My flights\n")
    with pytest.raises(ContractError, match=f"{name}: expected no file or an older report") as caught:
        write_report_of_two_models(tmp_path)
    assert "\n" not in str(caught.value)
    assert notes.read_text() == "# My flights\n"
    assert [path.name for path in tmp_path.glob("notes*")] == [name]
