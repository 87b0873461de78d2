"""Keeps engines on disk, each beside a sidecar that says for what it was built; only a match is used."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from irvis_runtime.atomic import write_bytes, write_text
from irvis_runtime.errors import ContractError
from irvis_runtime.model_files.checked_files import read_file
from irvis_runtime.strict_json import parse

SYSTEM_FOLDER = Path("/var/lib/irvis")

_log = logging.getLogger(__name__)
_MAX_SIDECAR_BYTES = 1 << 16
_MAX_CONTENT_BYTES = 1 << 30
_ADVICE = "it is built again"


@dataclass(frozen=True)
class EngineCache:
    """A folder of engines and timing caches; None keeps nothing.

    An entry is found by the digest of its identity, a JSON object that names all that it depends on. Its
    sidecar repeats the identity with the content's length and SHA-256, so that a truncated, foreign or
    half-written entry is told from a good one. This guards against accidents, not against somebody who may
    write to the folder.
    """

    folder: Path | None

    def load(self, identity: Mapping[str, object]) -> bytes | None:
        """Returns what was stored under exactly this identity, None where nothing can be trusted."""
        paths = self._paths(identity)
        if paths is None or not paths[1].exists():
            return None
        try:
            return _checked_content(*paths, identity)
        except ContractError as error:
            _log.warning("%s", error)
            return None

    def store(self, identity: Mapping[str, object], content: bytes) -> None:
        """Writes an entry, the content first; where it cannot be written, a line in the log says so."""
        paths = self._paths(identity)
        if paths is None:
            return
        sidecar = {
            "identity": dict(identity),
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        try:
            write_bytes(paths[0], content)
            write_text(paths[1], json.dumps(sidecar, indent=2, allow_nan=False) + "\n")
        except ContractError as error:
            _log.warning("the engine is not kept and will be built again: %s", error)

    def _paths(self, identity: Mapping[str, object]) -> tuple[Path, Path] | None:
        if self.folder is None:
            return None
        text = json.dumps(identity, sort_keys=True, allow_nan=False)
        stem = hashlib.sha256(text.encode()).hexdigest()[:32]
        return self.folder / f"{stem}.bin", self.folder / f"{stem}.json"


def open_cache(environment: Mapping[str, str] = os.environ) -> EngineCache:
    """Returns the cache of this machine.

    It lies in $IRVIS_CACHE; where that is not set, in the first of $XDG_CACHE_HOME/irvis (~/.cache/irvis) and
    /var/lib/irvis that can be written. ContractError where $IRVIS_CACHE is set and cannot be written.
    """
    chosen = environment.get("IRVIS_CACHE")
    if chosen:
        if not _is_writable(Path(chosen)):
            raise ContractError(
                f"IRVIS_CACHE: expected a folder that can be made and written, got {chosen}; "
                "name another or unset it"
            )
        return EngineCache(Path(chosen) / "engines")
    home = environment.get("HOME")
    user = environment.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home else None)
    for folder in ([Path(user) / "irvis"] if user else []) + [SYSTEM_FOLDER]:
        if _is_writable(folder):
            return EngineCache(folder / "engines")
    _log.warning("no folder for engines can be written, so they are built at every start; set IRVIS_CACHE")
    return EngineCache(None)


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _checked_content(content_path: Path, sidecar_path: Path, identity: Mapping[str, object]) -> bytes:
    """ContractError, in one line, for whatever is wrong with the entry."""
    text = read_file(sidecar_path, "the sidecar of an engine", _MAX_SIDECAR_BYTES).decode(errors="replace")
    members = parse(text, str(sidecar_path), _ADVICE).members(("identity", "bytes", "sha256", "made"))
    wanted = json.loads(json.dumps(identity))
    if members["identity"].value != wanted:
        raise members["identity"].error("the identity of this model, TensorRT, GPU and size", "another")
    content = read_file(content_path, "an engine", _MAX_CONTENT_BYTES)
    if members["bytes"].value != len(content):
        raise members["bytes"].error(f"the length of the engine, {len(content)}")
    if members["sha256"].value != hashlib.sha256(content).hexdigest():
        raise members["sha256"].error("the hash of the engine")
    return content
