"""Runs one engine at one picture size, up to two pictures at a time."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import Any

from numpy.typing import NDArray

from irvis_runtime.errors import BackendError

from .cudart import Cudart
from .tensorrt_slot import EngineSlot

DEPTH = 2
"""Pictures in flight at most: while the GPU works on one, the CPU prepares the next."""


class InFlight:
    """A picture on the GPU."""

    def __init__(self, slot: EngineSlot, sized: SizedEngine) -> None:
        self._slot: EngineSlot | None = slot
        self._sized = sized

    def collect(self) -> dict[str, NDArray[Any]]:
        """Waits for the picture and returns the outputs by port name; BackendError the second time."""
        slot, self._slot = self._slot, None
        if slot is None:
            raise BackendError("this picture was collected before; submit it again")
        if self._sized.is_closed:
            raise BackendError("the engine was closed before this picture was collected; submit it again")
        return slot.finish()


class SizedEngine:
    """An engine for inputs of fixed shapes.

    Pictures are worked on one after the other, on one stream, so that none is delayed by the next. The second
    slot, with a context of its own, is made when a second picture first comes before the first was collected:
    who never overlaps pays no memory for it. `shapes`: of the inputs by port name. `is_mapped`: see
    PortBuffer. BackendError where the engine's ports are others or memory is short; then nothing is held.
    """

    def __init__(
        self, trt: Any, cuda: Cudart, engine: Any, shapes: Mapping[str, tuple[int, ...]], is_mapped: bool
    ) -> None:
        self._trt, self._cuda, self._engine = trt, cuda, engine
        self._shapes, self._is_mapped = dict(shapes), is_mapped
        self._slots: list[EngineSlot] = []
        self.is_closed = False
        with ExitStack() as stack:
            self._stream = cuda.create_stream()
            stack.callback(cuda.destroy_stream, self._stream)
            self._owned = stack
            self._slots.append(self._made_slot())
            self._owned = stack.pop_all()

    def submit(self, inputs: Mapping[str, NDArray[Any]]) -> InFlight:
        """Queues the work on a copy of the inputs; BackendError where two pictures wait to be collected."""
        slot = next((slot for slot in self._slots if not slot.is_busy), None)
        if slot is None:
            if len(self._slots) == DEPTH:
                raise BackendError(f"{DEPTH} pictures are in flight; collect one before the next")
            slot = self._made_slot()
            self._slots.append(slot)
        slot.start(inputs)
        return InFlight(slot, self)

    def close(self) -> None:
        """Waits for what is in flight and frees all that is held; a second call does nothing."""
        if self.is_closed:
            return
        self.is_closed = True
        self._engine = None
        self._slots.clear()
        # Where that work fails, nobody waits for it any more.
        with self._owned, suppress(BackendError):
            self._cuda.synchronize(self._stream)

    def _made_slot(self) -> EngineSlot:
        slot = EngineSlot(self._trt, self._cuda, self._engine, self._shapes, self._is_mapped, self._stream)
        self._owned.callback(slot.close)
        return slot
