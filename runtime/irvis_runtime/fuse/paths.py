"""What `irvis fuse` is given: pictures, folders or videos, checked before any work begins."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from irvis_runtime.errors import ContractError
from irvis_runtime.image import checked_picture_suffix
from irvis_runtime.output_paths import check_replaceable, is_same_file
from irvis_runtime.pairs import find_pairs, find_unpaired
from irvis_runtime.picture_files import PICTURE_SUFFIXES
from irvis_runtime.video import CODECS, VIDEO_SUFFIXES, checked_video_suffix

Kind = Literal["picture", "folder", "video"]


@dataclass(frozen=True)
class FusePaths:
    """Two inputs of one kind and the output that belongs to them."""

    kind: Kind
    infrared: Path
    visible: Path
    output: Path
    """The picture, folder or video itself, never the folder that it goes into."""


def check_paths(infrared: Path, visible: Path, output: Path, json: Path | None) -> FusePaths:
    """The paths of a run; ContractError where they do not fit together or an input would be overwritten."""
    kind, kind_visible = _kind_of(infrared), _kind_of(visible)
    if kind != kind_visible:
        raise ContractError(
            f"expected two pictures, two folders or two videos, got a {kind} ({infrared}) "
            f"and a {kind_visible} ({visible}); name two of a kind"
        )
    if kind == "folder":
        output = _checked_folder(output)
        _check_keeps_pictures(infrared, visible, output, json)
    elif kind == "video":
        output = output / f"{visible.stem}.mp4" if output.is_dir() else output
        checked_video_suffix(output)
    else:
        output = output / f"{visible.stem}.png" if output.is_dir() else output
        checked_picture_suffix(output)
    for path in (output, json):
        _check_keeps_inputs(path, (infrared, visible))
    if kind != "folder":
        check_replaceable(output)
    if json is not None:
        check_replaceable(json)
        if is_same_file(json, output):
            raise ContractError(f"{json}: both --json and --output name it; name two files")
    return FusePaths(kind, infrared, visible, output)


def _kind_of(path: Path) -> Kind:
    if path.is_dir():
        return "folder"
    if not path.exists():
        raise ContractError(f"{path}: expected a picture, folder or video, found nothing; check the path")
    return "video" if path.suffix.lower() in VIDEO_SUFFIXES else "picture"


def _checked_folder(output: Path) -> Path:
    """The output of two folders; a name that looks like a file's is taken for a slip."""
    is_file_name = output.suffix.lower() in PICTURE_SUFFIXES | CODECS.keys()
    if not output.is_dir() and (output.exists() or is_file_name):
        raise ContractError(f"{output}: two folders are fused into a folder, this is a file; name a folder")
    return output


def _check_keeps_inputs(path: Path | None, inputs: tuple[Path, Path]) -> None:
    for given in inputs:
        if path is not None and is_same_file(path, given):
            raise ContractError(f"{path}: this output is an input and would be overwritten; name another")


def _check_keeps_pictures(infrared: Path, visible: Path, output: Path, json: Path | None) -> None:
    """Refuses a file of the run that is a picture of an input folder, be it through a link."""
    pairs = find_pairs(infrared, visible)
    given = [path for pair in pairs for path in (pair.infrared, pair.visible)]
    kept = {os.path.realpath(path) for path in (*given, *find_unpaired(infrared, visible))}
    fused = [output / f"{pair.name}.png" for pair in pairs]
    for path in (*fused, *([json] if json is not None else [])):
        if os.path.realpath(path) in kept:
            raise ContractError(f"{path}: this output is an input and would be overwritten; name another")
    if json is not None and os.path.realpath(json) in map(os.path.realpath, fused):
        raise ContractError(f"{json}: both --json and --output name it; name two files")
