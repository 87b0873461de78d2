from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from irvis_train.balance import balance_kernels, imbalance
from irvis_train.checkerboard import checkerboard_db
from irvis_train.ldfusion import LdFusion, LdFusionShape
from irvis_train.teacher import load_teacher
from irvis_train.teacher_data import read_training_pairs


def inner(layer: nn.ConvTranspose2d) -> Tensor:
    """Its response to an even input, away from the border."""
    with torch.no_grad():
        response: Tensor = layer(torch.full((1, 3, 9, 9), 0.7))[..., 6:12, 6:12]
    return response


@pytest.mark.parametrize(("size", "stride"), [(5, 2), (4, 2), (3, 3)])
def test_an_even_input_stays_even_and_keeps_its_level(size: int, stride: int) -> None:
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(3, 2, size, stride)
    before = inner(layer).mean(dim=(-1, -2))
    balance_kernels(layer)
    after = inner(layer)
    assert float(after.std(dim=(-1, -2)).max()) < 1e-6
    torch.testing.assert_close(after.mean(dim=(-1, -2)), before)
    assert imbalance(layer) < 1e-6


def test_balancing_twice_changes_nothing_more_and_leaves_the_rest_alone() -> None:
    torch.manual_seed(0)
    network = LdFusion(LdFusionShape(2, False))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert imbalance(network) > 0.01
    balance_kernels(network)
    once = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    balance_kernels(network)
    changed = {name for name, tensor in once.items() if not torch.equal(tensor, before[name])}
    assert changed == {f"decoder.model_up.{index}.weight" for index in (0, 3, 6)}
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, once[name], atol=1e-6, rtol=0.0)


def test_the_published_checkpoints_pattern_goes(shared: Path) -> None:
    path = shared / "checkpoints" / "ldlite" / "final.pt"
    published, balanced = load_teacher(path), load_teacher(path)
    balance_kernels(balanced)
    pair = read_training_pairs([str(shared / "data" / "val" / "RoadScene")], [], 400)[0]
    planes = pair.planes()
    infrared, visible = planes[:, :1], planes[:, 1:]
    with torch.no_grad():
        before, after = (
            checkerboard_db(network(infrared, visible), infrared, visible)
            for network in (published, balanced)
        )
    assert before[2] > 10.0
    assert before[4] > 10.0
    assert all(after[period_px] < before[period_px] - 5.0 for period_px in (2, 4))
