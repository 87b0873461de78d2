"""The device that a training runs on."""

from __future__ import annotations

import torch

from irvis_runtime.errors import ContractError

from .ranks import Ranks


def open_device(name: str, ranks: Ranks | None = None) -> torch.device:
    """Returns the device; ContractError where this machine has none of that name.

    Each of several processes takes the GPU of its own number where `name` is auto or cuda.
    """
    count = torch.cuda.device_count()
    if ranks is not None and ranks.count > 1 and count and name in ("auto", "cuda"):
        name = f"cuda:{ranks.local_index}"
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    known = ["cpu", *(["cuda"] if count else []), *(f"cuda:{index}" for index in range(count))]
    if name not in known:
        raise ContractError(f"device: expected one of auto, {', '.join(known)} on this machine, got {name!r}")
    device = torch.device(name)
    if device.index is not None:
        torch.cuda.set_device(device)
    return device
