"""Finds a CLIP's weights, by name and tag, file, folder or hub, and builds its open_clip model."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from irvis_runtime.config import nearest
from irvis_runtime.errors import BackendError, ContractError

LOCAL, HUB = "local-dir:", "hf-hub:"
CONFIG_NAME, WEIGHTS_NAME = "open_clip_config.json", "open_clip_model.safetensors"
WEIGHTS_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
EXPECTED = (
    f"expected a tag of open_clip, a weights file, or a folder that holds {CONFIG_NAME} and {WEIGHTS_NAME}"
)


@dataclass(frozen=True)
class ClipSource:
    """What open_clip's factory is asked for."""

    name: str
    """A model's name, `local-dir:FOLDER` or `hf-hub:OWNER/NAME`."""
    pretrained: str | None
    """A tag or a file; None where the name says it all."""
    quick_gelu: bool
    """Whether the weights were trained with that activation though the model's configuration has not."""
    fetch: str | None
    """How to fetch the weights elsewhere: the command, and what to set then; None where they are local."""

    @property
    def label(self) -> str:
        """How an error names it."""
        return self.name.removeprefix(LOCAL) + (f" / {self.pretrained}" if self.pretrained else "")


def import_open_clip() -> ModuleType:
    """Returns the library, which takes seconds to import; BackendError where it is not installed."""
    try:
        import open_clip
    except ImportError as error:
        raise BackendError(
            f"cannot import open_clip ({error}); pip install 'open_clip_torch>=3.0'"
        ) from error
    module: ModuleType = open_clip
    return module


def find_clip(model: str, pretrained: str) -> ClipSource:
    """Returns where a CLIP's weights are; ContractError for names, tags and paths that do not exist.

    A folder as `pretrained`, or a `model` that begins with `local-dir:` or `hf-hub:`, says all; the other
    argument is then not looked at.
    """
    if model.startswith(HUB):
        hub_name = model.removeprefix(HUB).strip("/")
        if hub_name.count("/") != 1:
            raise ContractError(
                f"model: expected {HUB}OWNER/NAME, got {model!r}; name a repository of the hub"
            )
        return ClipSource(HUB + hub_name, None, False, _hub_advice(hub_name))
    if model.startswith(LOCAL):
        return _folder(Path(model.removeprefix(LOCAL)))
    if Path(pretrained).is_dir():
        return _folder(Path(pretrained))
    open_clip = import_open_clip()
    name, known = model.replace("/", "-"), open_clip.list_models()
    if name not in known:
        advice = nearest(name, known) if len(nearest(name, known)) < 200 else "see open_clip.list_models()"
        raise ContractError(f"model: open_clip has no {model!r}; {advice}")
    if Path(pretrained).is_file():
        return ClipSource(name, pretrained, False, None)
    return _tagged(open_clip, name, pretrained)


def build_clip(source: ClipSource) -> tuple[Any, Any, dict[str, Any]]:
    """Returns the open_clip model (float32, CPU), its tokenizer, and the configuration it was built from.

    ContractError where weights cannot be fetched, with the command that fetches them elsewhere; for damaged
    files, and for weights of another model. Pickles are read with weights_only=True.
    """
    open_clip = import_open_clip()
    try:
        if source.fetch is not None:
            # Without a network the hub tries for a minute; HF_HUB_OFFLINE=1 spares the wait.
            sys.stderr.write(f"CLIP {source.label}: from the cache or the hub\n")
        with _quiet():
            model = open_clip.create_model(
                source.name,
                pretrained=source.pretrained,
                force_quick_gelu=source.quick_gelu,
                # Without it a folder that lacks weights gives a random network and a warning.
                require_pretrained=True,
                weights_only=True,
            )
            tokenizer = open_clip.get_tokenizer(source.name)
            config = dict(open_clip.get_model_config(source.name))
    except Exception as error:
        # The hub, its transports, JSON, safetensors, pickles and load_state_dict raise kinds of their own.
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        if source.fetch is not None:
            raise ContractError(
                f"CLIP {source.label}: cannot be fetched ({reason}); where there is a network {source.fetch}"
            ) from error
        raise ContractError(f"CLIP {source.label}: cannot be loaded ({reason}); {EXPECTED}") from error
    return model, tokenizer, config | {"quick_gelu": source.quick_gelu or config.get("quick_gelu", False)}


def _folder(folder: Path) -> ClipSource:
    if not folder.is_dir():
        raise ContractError(f"{folder}: is not a folder; {EXPECTED}")
    if not (folder / CONFIG_NAME).is_file():
        raise ContractError(f"{folder}: has no {CONFIG_NAME}; {EXPECTED}")
    return ClipSource(f"{LOCAL}{folder}", None, False, None)


def _tagged(open_clip: ModuleType, name: str, tag: str) -> ClipSource:
    tags = open_clip.list_pretrained_tags_by_model(name)
    known = open_clip.pretrained.get_pretrained_cfg(name, tag)
    if not known:
        if "/" in tag or Path(tag).suffix in WEIGHTS_SUFFIXES:
            raise ContractError(f"pretrained: {tag} does not exist; {EXPECTED}")
        raise ContractError(
            f"pretrained: open_clip has no tag {tag!r} for {name}; {nearest(tag, tags)}; {EXPECTED}"
        )
    # OpenAI's weights need QuickGELU; open_clip itself only warns when the plain model's name is given.
    quick_gelu = bool(known.get("quick_gelu")) and not open_clip.get_model_config(name).get("quick_gelu")
    hub_name = str(known.get("hf_hub", "")).rstrip("/")
    return ClipSource(
        name, tag, quick_gelu, _hub_advice(hub_name) if hub_name else _link_advice(known["url"])
    )


def _hub_advice(hub_name: str) -> str:
    """For `owner/repository`, which is a whole model, or `owner/repository/file`, which is weights alone."""
    owner, repository, *file = hub_name.split("/")
    folder = "/".join([repository, *file])
    command = " ".join(["hf download", f"{owner}/{repository}", *file, "--local-dir", repository])
    return f"run `{command}`, copy {repository} here and set pretrained={folder}"


def _link_advice(url: str) -> str:
    file = url.rsplit("/", 1)[-1]
    return f"run `curl -LO {url}`, copy {file} here and set pretrained={file}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps open_clip's log lines and warnings off the terminal: what matters is raised."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
