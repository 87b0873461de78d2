"""Which layers stay floats: what each costs as INT8, and the worst of them moved while they lose too much."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from onnx import ModelProto

from irvis_runtime.progress import Progress

from .gate import Fidelity, Limits, Reference
from .sessions import open_bytes

Build = Callable[[Collection[str]], ModelProto]
"""The names of the convolutions that stay floats -> the graph whose others are INT8."""

LEAST_GAIN_DB = 0.5
"""Of agreement with FP32, for which a layer is moved: on a CPU it then takes three to four times as long."""
TRIED_PER_MOVED = 2


@dataclass(frozen=True)
class LayerCost:
    """What one layer as INT8 costs where all others are floats."""

    drop_db: float
    agreement_db: float


@dataclass(frozen=True)
class Settled:
    """A graph, the layers in it that stayed floats, and what it showed."""

    graph: ModelProto
    moved: tuple[str, ...]
    fidelity: Fidelity


def find_costs(build: Build, layers: Sequence[str], reference: Reference, what: str) -> dict[str, LayerCost]:
    """What each layer alone costs, against the teacher and FP32; `what` is told with the progress."""
    costs = {}
    with Progress(f"what each layer costs, {what}", len(layers)) as progress:
        for layer in layers:
            alone = build([name for name in layers if name != layer])
            fidelity = reference.measure(open_bytes(alone))
            costs[layer] = LayerCost(fidelity.drop_db, fidelity.agreement_psnr_db)
            progress.step()
    return costs


def settle(
    build: Build, costs: Mapping[str, LayerCost], reference: Reference, aim: Limits, most_moved: int
) -> Settled:
    """Leaves layers floats, that of the worst agreement first, until `aim` holds or `most_moved` are.

    A layer that brings little stays INT8: where its neighbours take and give levels, its own error may be
    the smaller part. Twice as many are tried at most.
    """
    graph = build(())
    best = Settled(graph, (), reference.measure(open_bytes(graph)))
    worst_first = sorted(costs, key=lambda name: costs[name].agreement_db)
    for layer in worst_first[: TRIED_PER_MOVED * most_moved]:
        if not best.fidelity.failures(aim) or len(best.moved) == most_moved:
            break
        moved = (*best.moved, layer)
        graph = build(moved)
        fidelity = reference.measure(open_bytes(graph))
        if fidelity.agreement_psnr_db >= best.fidelity.agreement_psnr_db + LEAST_GAIN_DB:
            best = Settled(graph, moved, fidelity)
    return best
