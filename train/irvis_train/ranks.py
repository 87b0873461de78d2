"""Several processes that train one network, as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from irvis_runtime.errors import ContractError


@dataclass(frozen=True)
class Ranks:
    """This process among all; a single one is the first of one."""

    index: int = 0
    count: int = 1
    local_index: int = 0
    """Among those on this machine; names the GPU."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.index == 0

    def share(self, count: int) -> range:
        """The part of `count` things that is this process's; all parts are equal."""
        if count % self.count:
            raise ContractError(
                f"batch: expected a multiple of the {self.count} processes, got {count}; change one of them"
            )
        size = count // self.count
        return range(self.index * size, (self.index + 1) * size)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes; they must all call it."""
        if self.count == 1:
            return values
        total = values.detach().clone()
        distributed.all_reduce(total)
        return total / self.count


@contextmanager
def open_ranks(device: str) -> Iterator[Ranks]:
    """Joins the processes that torchrun started, over NCCL for a CUDA device and gloo for the CPU.

    Without torchrun's variables in the environment there is one process. A group that the caller has opened
    is used and left open.
    """
    if distributed.is_available() and distributed.is_initialized():
        yield Ranks(
            distributed.get_rank(), distributed.get_world_size(), _number(os.environ, "LOCAL_RANK", 0)
        )
        return
    count = _number(os.environ, "WORLD_SIZE", 1)
    if count == 1:
        yield Ranks()
        return
    ranks = Ranks(_number(os.environ, "RANK"), count, _number(os.environ, "LOCAL_RANK"))
    is_cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    distributed.init_process_group("nccl" if is_cuda else "gloo", rank=ranks.index, world_size=count)
    try:
        yield ranks
    finally:
        distributed.destroy_process_group()


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name, "" if default is None else str(default))
    if not text.isdecimal():
        raise ContractError(
            f"{name}: expected a number in the environment, got {text!r}; start processes with torchrun"
        )
    return int(text)
