"""The form that every backend's session has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


class Pending(Protocol):
    """A picture that was handed in and may still be computed."""

    def collect(self) -> dict[str, NDArray[Any]]:
        """Waits for the outputs and returns them by port name; a second call is an error."""
        ...


class Session(Protocol):
    """A loaded network; a context manager that frees what it holds."""

    versions: dict[str, str]

    def infer(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Returns the outputs by port name for inputs by port name."""
        ...

    def submit(self, inputs: Arrays) -> Pending:
        """Takes inputs that may change afterwards; where a GPU computes, it returns before it is done."""
        ...

    def close(self) -> None:
        """Frees the network; further calls of `infer` are errors."""
        ...

    def __enter__(self) -> Session: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True)
class Computed:
    """The Pending of a backend that computes at once, as those on the CPU do: there is nothing to overlap."""

    outputs: dict[str, NDArray[Any]]

    def collect(self) -> dict[str, NDArray[Any]]:
        """Returns the outputs by port name."""
        return self.outputs
