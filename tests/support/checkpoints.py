"""Files with the layout of the published checkpoints, and made-up, reproducible weights.

A value depends on seed, layout and key only: crc32 of "seed|namespace|key" seeds PCG64, whose raw
words become a uniform of mean 0 and variance 1, scaled by the kind of tensor. The golden features
were computed from the same values by the authors' own code.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import sys
import types
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FOLDER = Path(__file__).resolve().parents[1] / "data" / "checkpoints"
CASES: dict[str, tuple[str, dict[str, str]]] = {
    "chexzero": ("chexzero", {}),
    "chexzero.variant-fp16": ("chexzero", {}),
    "convirt_chest_mimic": ("convirt", {}),
    "refers_checkpoint": ("refers", {}),
    "s2mts2-chexpert": ("s2mts2", {}),
    "imagenet_resnet50": ("resnet", {}),
    **{f"gloria_chexpert_{arch}": ("gloria", {"arch": arch}) for arch in ("resnet18", "resnet50")},
    **{f"moco-cxr_{arch}": ("mococxr", {"arch": arch}) for arch in ("resnet18", "resnet50")},
    **{
        f"medaug_{data}_{arch}": ("medaug", {"arch": arch, "pretrained_on": data})
        for arch in ("resnet18", "resnet50")
        for data in ("mimic-cxr", "chexpert")
    },
}
"""Golden's name -> backbone and its options."""


def read_layout(name: str) -> dict[str, Any]:
    """Return a layout by name."""
    layout: dict[str, Any] = json.loads((FOLDER / f"{name}.layout.json").read_text())
    return layout


def read_golden(name: str) -> dict[str, Any]:
    """Return a golden by name."""
    golden: dict[str, Any] = json.loads((FOLDER / f"{name}.golden.json").read_text())
    return golden


def golden_input() -> torch.Tensor:
    """Return the (2, 3, 224, 224) batch that the goldens were computed from."""
    size = 224
    image = np.zeros((2, 3, size, size))
    for side, weight in ((32, 1.0), (8, 0.5), (1, 0.25)):
        n = size // side
        blocks = _uniform(f"0|input|{side}", 6 * n * n).reshape(2, 3, n, n)
        image += weight * blocks.repeat(side, axis=2).repeat(side, axis=3)
    image[1] = image[1] * 1.5 + 0.25
    return torch.from_numpy(image.astype(np.float32))


def golden_error(row: dict[str, Any], values: NDArray[np.float64]) -> float:
    """Return the largest deviation from a golden row, relative to the row's largest value."""
    index = np.linspace(0, len(values) - 1, 16).round().astype(int)
    scale = max(np.abs(values).max(), np.abs(row["first16"]).max(), np.abs(row["strided16"]).max())
    return float(
        max(
            np.abs(values[:16] - row["first16"]).max() / scale,
            np.abs(values[index] - row["strided16"]).max() / scale,
            abs(values.mean() - row["mean"]) / scale,
            abs(values.std() - row["std"]) / scale,
            abs(np.linalg.norm(values) - row["l2"]) / max(row["l2"], 1e-12),
        )
    )


def build(layout: dict[str, Any], *, compact: bool = True, seed: int = 0) -> dict[str, Any]:
    """Return what a published file unpickles to, with plain dicts for its settings.

    Args:
        layout: from `read_layout`.
        compact: cut tensors that every loader must drop to sides of at most 2.
        seed: other weights.
    """
    groups = {
        tuple(group["path"]): _tensors(layout, group, compact=compact, seed=seed)
        for group in layout["groups"]
    }
    if layout["top_level"] == "state_dict":
        return dict(groups[()])
    return {item["key"]: _entry(item, groups) for item in layout["top_level"] if _is_plain(item)}


def write(
    layout: dict[str, Any],
    folder: Path,
    *,
    compact: bool = True,
    published: bool = False,
    legacy: bool = False,
) -> Path:
    """Write a checkpoint file under its published name and return its path.

    Args:
        layout: from `read_layout`.
        folder: an existing folder.
        compact: see `build`.
        published: as the authors' machines did: storages tagged cuda:0, settings as OmegaConf
            objects, classes of pytorch_lightning (made up here) as keys.
        legacy: the stream of torch before 1.6.
    """
    path = folder / str(layout["file_name"])
    content = build(layout, compact=compact)
    with contextlib.ExitStack() as stack:
        if published:
            stack.enter_context(_saved_on_a_gpu())
            for item in layout["top_level"] if layout["top_level"] != "state_dict" else ():
                if not _is_plain(item) or item["type"] == "config":
                    content[item["key"]] = _foreign(item, stack)
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def _is_plain(item: dict[str, Any]) -> bool:
    return item["type"] not in {"config_class", "lightning_callbacks"}


def _uniform(seed_text: str, count: int) -> NDArray[np.float64]:
    words = np.asarray(np.random.PCG64(zlib.crc32(seed_text.encode())).random_raw(count))
    return ((words >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0) * math.sqrt(3.0)


def _tensors(
    layout: dict[str, Any], group: dict[str, Any], *, compact: bool, seed: int
) -> OrderedDict[str, torch.Tensor]:
    state: OrderedDict[str, torch.Tensor] = OrderedDict()
    for key, shape, dtype, role in group["tensors"]:
        name = group.get("seed_key_prefix", "") + key
        if layout["seed_key_strip"]:
            name = re.sub(layout["seed_key_strip"], "", name)
        cut = [min(side, 2) for side in shape] if compact and role == "drop" else shape
        text = f"{seed}|{layout['seed_namespace']}|{name}"
        state[key] = torch.from_numpy(_value(text, key, cut, dtype)).reshape(cut)
    return state


def _value(seed_text: str, key: str, shape: list[int], dtype: str) -> NDArray[Any]:
    leaf = key.rpartition(".")[2]
    if dtype.startswith("int"):
        if leaf == "position_ids":
            return np.array(np.broadcast_to(np.arange(shape[-1], dtype=dtype), shape))
        number = 0 if leaf == "queue_ptr" else zlib.crc32(seed_text.encode()) % 9000 + 1000
        return np.full(shape, number, dtype=dtype)
    values = _uniform(seed_text, math.prod(shape))
    scale, shift = _scale(key, leaf, shape)
    if leaf == "running_var":
        values = np.abs(values)
    return (shift + scale * values).astype(np.float32).astype(dtype)


def _scale(key: str, leaf: str, shape: list[int]) -> tuple[float, float]:
    embedding = "embedding" in leaf or leaf == "cls_token" or "token_embedding" in key
    rules = (
        (not shape, (0.01, 2.65926)),
        (leaf == "running_var", (0.25, 1.0)),
        (leaf == "running_mean", (0.1, 0.0)),
        (leaf.endswith("bias"), (0.05, 0.0)),
        (leaf == "weight" and len(shape) == 1, (0.1, 1.0)),
        (embedding or ("embeddings" in key and leaf == "weight" and len(shape) == 2), (0.5, 0.0)),
        (leaf.startswith("queue"), (1.0, 0.0)),
    )
    inputs = math.prod(shape[1:])
    return next((rule for applies, rule in rules if applies), (1 / math.sqrt(inputs), 0.0))


def _entry(item: dict[str, Any], groups: dict[tuple[str, ...], Any]) -> object:
    if item["type"] == "state_dict":
        return groups[(item["key"],)]
    if item["type"] in {"optimizer_state", "list_of_optimizer_state"}:
        state = {"param_groups": [{**item["param_group"], "params": list(range(item["n_params"]))}]}
        return [state] if item["type"].startswith("list") else state
    return item["value"]


def _foreign(item: dict[str, Any], stack: contextlib.ExitStack) -> object:
    """Return what pickles as an object of OmegaConf or of pytorch_lightning."""
    if item["type"] == "lightning_callbacks":
        return {
            stack.enter_context(_made_up_class(name)): dict(state)
            for name, state in item["value"].items()
        }
    from omegaconf import DictConfig, OmegaConf

    return DictConfig if item["type"] == "config_class" else OmegaConf.create(item["value"])


@contextlib.contextmanager
def _made_up_class(full_name: str) -> Iterator[type]:
    """Make a class importable under a name of a package that is not installed, for a while."""
    module_name, _, class_name = full_name.rpartition(".")
    parts = module_name.split(".")
    names = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
    added = [name for name in names if name not in sys.modules]
    sys.modules.update({name: types.ModuleType(name) for name in added})
    made = type(class_name, (), {"__module__": module_name})
    setattr(sys.modules[module_name], class_name, made)
    try:
        yield made
    finally:
        for name in added:
            del sys.modules[name]


@contextlib.contextmanager
def _saved_on_a_gpu() -> Iterator[None]:
    original = torch.serialization.location_tag

    def on_a_gpu(storage: object) -> str:
        return "cuda:0"

    torch.serialization.location_tag = on_a_gpu
    try:
        yield
    finally:
        torch.serialization.location_tag = original
