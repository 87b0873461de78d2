from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from irvis_runtime.errors import ContractError
from irvis_train.clip_files import CONFIG_NAME, WEIGHTS_NAME, build_clip, find_clip
from irvis_train.tensor_files import write_tensors

TINY: dict[str, Any] = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}


def network(model: dict[str, Any] = TINY) -> Any:
    torch.manual_seed(1)
    return open_clip.model.CLIP(**model)


def one_line(error: pytest.ExceptionInfo[ContractError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "clip"
    write_tensors(path / WEIGHTS_NAME, network().state_dict(), {"format": "pt"})
    (path / CONFIG_NAME).write_text(json.dumps({"model_cfg": TINY}))
    return path


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A name that open_clip knows, of a model that is small enough for a test."""
    known = dict(open_clip.factory._MODEL_CONFIGS)
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", known | {"irvis-tiny": TINY})
    return "irvis-tiny"


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network and an empty cache, whatever the machine has."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_a_folder_is_taken_by_either_field(folder: Path) -> None:
    for source in (find_clip("anything", str(folder)), find_clip(f"local-dir:{folder}", "openai")):
        model, tokenizer, config = build_clip(source)
        assert torch.equal(model.visual.proj, network().visual.proj)
        assert tokenizer.context_length == 16
        assert config["embed_dim"] == 8


def test_a_weights_file_is_taken_with_the_models_name(named: str, tmp_path: Path) -> None:
    write_tensors(tmp_path / "weights.safetensors", network().state_dict(), {})
    torch.save(network().state_dict(), tmp_path / "weights.pt")
    torch.save({"state_dict": network().state_dict()}, tmp_path / "training.pt")
    for file in ("weights.safetensors", "weights.pt", "training.pt"):
        model, _, _ = build_clip(find_clip(named, str(tmp_path / file)))
        assert torch.equal(model.visual.proj, network().visual.proj)


def test_unknown_names_and_tags_are_told_the_nearest() -> None:
    with pytest.raises(ContractError, match="no 'ViT-B-23'; did you mean 'ViT-B-32'"):
        find_clip("ViT-B-23", "openai")
    with pytest.raises(ContractError, match=r"no 'nothing-like-it'; see open_clip\.list_models\(\)"):
        find_clip("nothing-like-it", "openai")
    with pytest.raises(ContractError, match="no tag 'opnai' for ViT-B-32; did you mean 'openai'"):
        find_clip("ViT-B-32", "opnai")
    for missing in ("runs/none", "weights.safetensors"):
        with pytest.raises(ContractError, match=rf"{missing} does not exist; expected a tag"):
            find_clip("ViT-B-32", missing)
    with pytest.raises(ContractError, match="expected hf-hub:OWNER/NAME, got 'hf-hub:name'"):
        find_clip("hf-hub:name", "")


def test_openai_weights_get_their_own_activation() -> None:
    assert find_clip("ViT-B-32", "openai").quick_gelu
    assert find_clip("ViT-B/32", "openai").quick_gelu
    assert not find_clip("ViT-B-32-quickgelu", "openai").quick_gelu
    assert not find_clip("ViT-B-32", "laion2b_s34b_b79k").quick_gelu


def test_every_tag_of_open_clip_says_how_to_fetch_it() -> None:
    for model, tag in open_clip.list_pretrained():
        fetch = find_clip(model, tag).fetch
        assert fetch is not None
        assert fetch.startswith(("run `hf download ", "run `curl -LO https://"))


@pytest.mark.usefixtures("offline")
def test_weights_that_cannot_be_fetched_are_told_in_one_line_with_the_command() -> None:
    with pytest.raises(ContractError) as error:
        build_clip(find_clip("ViT-B-32", "openai"))
    text = one_line(error)
    assert text.startswith("CLIP ViT-B-32 / openai: cannot be fetched (")
    command = "hf download timm/vit_base_patch32_clip_224.openai --local-dir vit_base_patch32_clip_224.openai"
    assert f"`{command}`" in text
    assert text.endswith("set pretrained=vit_base_patch32_clip_224.openai")
    with pytest.raises(ContractError, match=r"hf download owner/name --local-dir name`, copy name here"):
        build_clip(find_clip("hf-hub:owner/name", "openai"))
    with pytest.raises(ContractError, match=r"set pretrained=ViTamin-S/pytorch_model\.bin"):
        build_clip(find_clip("ViTamin-S", "datacomp1b"))


def test_folders_that_lack_something_are_never_a_random_network(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="is not a folder"):
        find_clip(f"local-dir:{tmp_path / 'none'}", "")
    with pytest.raises(ContractError, match=rf"has no {CONFIG_NAME}"):
        find_clip("ViT-B-32", str(tmp_path))
    (folder / WEIGHTS_NAME).unlink()
    with pytest.raises(ContractError, match="cannot be loaded") as error:
        build_clip(find_clip("", str(folder)))
    one_line(error)


def test_damaged_and_foreign_files_are_told_in_one_line(folder: Path) -> None:
    weights, config = folder / WEIGHTS_NAME, folder / CONFIG_NAME
    whole, known = weights.read_bytes(), config.read_text()
    wider = network(TINY | {"embed_dim": 16}).state_dict()
    for content in (b"", b"broken", whole[: len(whole) // 2]):
        weights.write_bytes(content)
        with pytest.raises(ContractError, match=f"CLIP {folder}: cannot be loaded") as error:
            build_clip(find_clip("", str(folder)))
        one_line(error)
    write_tensors(weights, wider, {})
    with pytest.raises(ContractError, match="size mismatch"):
        build_clip(find_clip("", str(folder)))
    weights.write_bytes(whole)
    for text in ("", "[]", "{}", '{"model_cfg": {}}', known.replace('"width": 16', '"width": "wide"')):
        config.write_text(text)
        with pytest.raises(ContractError, match="cannot be loaded") as error:
            build_clip(find_clip("", str(folder)))
        one_line(error)


class Trap:
    """A pickle that makes a file when it is read as one."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (self.path, "w")


def test_a_pickle_with_code_in_it_is_not_run(named: str, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    with (tmp_path / "weights.pt").open("wb") as file:
        torch.save({"visual.proj": Trap(str(trap))}, file, pickle_module=pickle)
    with pytest.raises(ContractError, match="cannot be loaded") as error:
        build_clip(find_clip(named, str(tmp_path / "weights.pt")))
    one_line(error)
    assert not trap.exists()
