"""Pairs of an infrared and a visible picture: found by name, read at equal size."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .contract import MIN_SIDE_PX
from .errors import ContractError
from .image import Visible, match_infrared, read_infrared, read_visible
from .picture_files import pictures_in
from .thermal.agc import Agc

INFRARED_FOLDERS = ("ir", "infrared")
VISIBLE_FOLDERS = ("vis", "vi", "visible")


@dataclass(frozen=True)
class Pair:
    """Two files that show one scene."""

    name: str
    """What the two have in common: the stem, after the folder where there are several."""
    infrared: Path
    visible: Path


@dataclass(frozen=True)
class OpenPair:
    """The pictures of a pair, at the visible picture's size."""

    infrared_hw: NDArray[np.uint8]
    visible: Visible
    was_resized: bool
    """Whether the infrared picture had another size in its file."""


def find_pairs(folder_infrared: Path, folder_visible: Path) -> list[Pair]:
    """Pairs of pictures of the same stem, in natural order ("2" before "10"); ContractError if none."""
    infrared, visible = _pictures_by_stem(folder_infrared), _pictures_by_stem(folder_visible)
    stems = sorted(infrared.keys() & visible.keys(), key=natural_key)
    if not stems:
        raise ContractError(
            f"{folder_infrared} ({len(infrared)} pictures) and {folder_visible} ({len(visible)} pictures) "
            "have no file name in common; give the two pictures of a scene the same name"
        )
    return [Pair(stem, infrared[stem], visible[stem]) for stem in stems]


def leave_out(pairs: Sequence[Pair], parts: Sequence[str]) -> list[Pair]:
    """The pairs whose names hold none of `parts`.

    ContractError for a part that no name holds: a slip of the pen would let in what was to stay out.
    """
    for part in parts:
        if not any(part in pair.name for pair in pairs):
            raise ContractError(
                f"exclude: expected part of a name, got {part!r}, which none of {len(pairs)} pairs has; "
                "names are folder/stem, below the folder of pairs"
            )
    return [pair for pair in pairs if not any(part in pair.name for part in parts)]


def find_unpaired(folder_infrared: Path, folder_visible: Path) -> list[Path]:
    """The pictures of either folder whose stem the other one lacks, in natural order."""
    infrared, visible = _pictures_by_stem(folder_infrared), _pictures_by_stem(folder_visible)
    single = infrared.keys() ^ visible.keys()
    return [(infrared.get(stem) or visible[stem]) for stem in sorted(single, key=natural_key)]


def find_dataset_pairs(root: Path) -> list[Pair]:
    """Pairs of every folder at or below `root` that holds ir/ and vis/ (or infrared/; vi/ or visible/).

    A name is the folder relative to `root`, then the stem. Folders without both children are passed over;
    ContractError where nothing is left.
    """
    root = Path(root)
    if not root.is_dir():
        raise ContractError(f"{root}: expected a folder of pairs, found none; check the path")
    pairs: list[Pair] = []
    for folder in sorted(_folders(root), key=lambda path: natural_key(path.as_posix())):
        infrared, visible = _child(folder, INFRARED_FOLDERS), _child(folder, VISIBLE_FOLDERS)
        if infrared is None or visible is None:
            continue
        prefix = folder.relative_to(root)
        pairs += [
            Pair((prefix / pair.name).as_posix(), pair.infrared, pair.visible)
            for pair in find_pairs(infrared, visible)
        ]
    if not pairs:
        raise ContractError(
            f"{root}: found no folder with both ir/ and vis/ in it; put the infrared pictures into ir/ "
            "and the visible ones into vis/, under the same names"
        )
    return pairs


def read_pair(pair: Pair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Infrared and visible luma, (H, W) uint8, of the visible picture's size."""
    opened = open_pair(pair)
    return opened.infrared_hw, opened.visible.luma_hw


def open_pair(pair: Pair, agc: Agc | None = None) -> OpenPair:
    """Both pictures, with colour; ContractError where one cannot be read or has a side under 16 pixels.

    16-bit infrared becomes 8 bits as in `read_infrared`.
    """
    infrared_hw, visible = read_infrared(pair.infrared, agc), read_visible(pair.visible)
    check_size(pair.infrared, infrared_hw.shape)
    check_size(pair.visible, visible.luma_hw.shape)
    height, width = visible.luma_hw.shape
    matched_hw, was_resized = match_infrared(infrared_hw, (height, width))
    return OpenPair(matched_hw, visible, was_resized)


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sort key under which numbers inside names count as numbers."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return [(0, int(part), part) if part[0] in "0123456789" else (1, 0, part) for part in parts]


def check_size(path: Path, size_hw: tuple[int, ...]) -> None:
    """ContractError, naming `path`, for a picture that is too small to be fused."""
    height, width = size_hw
    if min(height, width) < MIN_SIDE_PX:
        raise ContractError(
            f"{path}: expected at least {MIN_SIDE_PX} x {MIN_SIDE_PX} pixels, got {width} x {height}; "
            "use a larger picture"
        )


def _pictures_by_stem(folder: Path) -> dict[str, Path]:
    folder = Path(folder)
    if not folder.is_dir():
        raise ContractError(f"{folder}: expected a folder of pictures, found none; check the path")
    pictures: dict[str, Path] = {}
    for path in pictures_in(folder):
        if path.stem in pictures:
            raise ContractError(
                f"{folder}: {pictures[path.stem].name} and {path.name} have the same stem; "
                "remove or rename one of them"
            )
        pictures[path.stem] = path
    return pictures


def _folders(root: Path) -> Iterator[Path]:
    """`root` and every folder below it, each once, links followed."""
    seen: set[str] = set()
    for folder, children, _ in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            children.clear()
            continue
        seen.add(real)
        yield Path(folder)


def _child(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)
