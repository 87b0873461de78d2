"""The form that every backend's session has."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol

from numpy.typing import NDArray


class Session(Protocol):
    """A loaded network; a context manager that frees what it holds."""

    versions: dict[str, str]

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Returns the outputs by port name for inputs by port name."""
        ...

    def close(self) -> None:
        """Frees the network; further calls of `infer` are errors."""
        ...

    def __enter__(self) -> Session: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
