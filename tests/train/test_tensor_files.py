from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from irvis_runtime.errors import ContractError
from irvis_runtime.model_files.safetensors_file import check_safetensors
from irvis_train.tensor_files import read_tensors, write_tensors

TENSORS = {
    "a": torch.arange(12.0).reshape(3, 4),
    "b": torch.tensor(3.0),
    "c": torch.arange(4, dtype=torch.int64),
}


@contextmanager
def file_size_limit(size_bytes: int) -> Iterator[None]:
    """As a full disk: a write beyond the limit fails with an OSError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_tensors_and_metadata_come_back(tmp_path: Path) -> None:
    write_tensors(tmp_path / "new" / "a.safetensors", TENSORS, {"step": "3"})
    tensors, metadata = read_tensors(tmp_path / "new" / "a.safetensors", "make it again")
    assert metadata == {"step": "3"}
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_what_is_not_contiguous_is_stored_in_order(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a.safetensors", {"a": TENSORS["a"].T}, {})
    assert torch.equal(read_tensors(tmp_path / "a.safetensors", "")[0]["a"], TENSORS["a"].T)


def test_equal_tensors_give_equal_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    metadata = {str(number): str(number) for number in range(10)}
    write_tensors(path, TENSORS, metadata)
    first = path.read_bytes()
    check_safetensors(path)
    for _ in range(5):
        write_tensors(path, TENSORS, dict(reversed(metadata.items())))
        assert path.read_bytes() == first


def test_what_was_read_stays_when_the_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"a": torch.zeros(1000)}, {})
    tensors, metadata = read_tensors(path, "")
    write_tensors(path, {"a": torch.ones(1000)}, {})
    assert float(tensors["a"].sum()) == 0.0
    assert metadata == {}


def test_damage_is_told_in_one_line_with_the_advice(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, TENSORS, {"step": "3"})
    content = path.read_bytes()
    for size in (0, 3, 8, 60, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ContractError, match=r"not a whole safetensors file .*; make it again") as info:
            read_tensors(path, "make it again")
        assert str(info.value).startswith(f"{path}: ")
        assert "\n" not in str(info.value)
    for other in (tmp_path, tmp_path / "none.safetensors"):
        with pytest.raises(ContractError, match="not a whole safetensors file"):
            read_tensors(other, "make it again")


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, TENSORS, {})
    before = path.read_bytes()
    with file_size_limit(4096), pytest.raises(ContractError, match=r"cannot write .*a\.safetensors"):
        write_tensors(path, {"a": torch.zeros(100_000)}, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
