from __future__ import annotations

import pytest
import torch

from irvis_runtime.errors import ContractError
from irvis_train.devices import open_device
from irvis_train.ranks import Ranks, open_ranks


def test_shares_are_equal_and_cover_the_batch() -> None:
    places = [place for index in range(4) for place in Ranks(index, 4).share(12)]
    assert places == list(range(12))
    assert [Ranks(index, 4).is_first for index in range(4)] == [True, False, False, False]


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ContractError, match="batch: expected a multiple of the 3 processes, got 8"):
        Ranks(0, 3).share(8)


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with open_ranks("cpu") as ranks:
        assert ranks == Ranks()
        assert float(ranks.mean(torch.tensor(2.5))) == 2.5


@pytest.mark.parametrize(("world", "rank"), [("two", "0"), ("2", ""), ("-2", "0")])
def test_a_broken_environment_is_told(world: str, rank: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", world)
    monkeypatch.setenv("RANK", rank)
    expected = r"expected a number in the environment, got .*torchrun"
    with pytest.raises(ContractError, match=expected), open_ranks("cpu"):
        pass


def test_devices_that_are_not_there_are_refused() -> None:
    assert open_device("cpu") == torch.device("cpu")
    with pytest.raises(
        ContractError, match=r"device: expected one of auto, cpu.* on this machine, got 'gpu'"
    ):
        open_device("gpu", Ranks(1, 2, 1))
