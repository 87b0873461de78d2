"""The ports of schema 1 and the arithmetic of their sizes."""

from __future__ import annotations

from dataclasses import dataclass

from irvis_runtime.errors import ContractError

INFRARED = "infrared"
VISIBLE = "visible"
CONTEXT = "context"
FUSED = "fused"

CONTEXT_SHAPE = (1, 2, 64, 64)
"""Thumbnails of infrared and visible, in this order, area-averaged, 0..255."""

MIN_SIDE_PX = 16
LUMA = "bt601-full"


@dataclass(frozen=True)
class Port:
    """An input or output of a network.

    Attributes:
        name: By which it is bound; positions mean nothing.
        dtype: As numpy calls it.
        shape: Sizes, or names of sizes that change from call to call.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        """The port as errors show it."""
        return f"{self.name!r} {self.dtype} {self.shape}"


INPUT_PORTS = (
    Port(INFRARED, "uint8", (1, 1, "H", "W")),
    Port(VISIBLE, "uint8", (1, 1, "H", "W")),
    Port(CONTEXT, "float32", CONTEXT_SHAPE),
)
OUTPUT_PORTS = (Port(FUSED, "uint8", (1, 1, "H", "W")),)


def padded_size(height: int, width: int, multiple: int) -> tuple[int, int]:
    """Returns the smallest (H, W) in pixels that holds the picture and is divisible by `multiple`.

    ContractError where an argument is below 1.
    """
    if min(height, width, multiple) < 1:
        raise ContractError(
            f"expected a height, a width and a multiple of at least 1, got {height}, {width} and {multiple}; "
            "check the picture's size"
        )
    return height + -height % multiple, width + -width % multiple
