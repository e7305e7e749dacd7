"""Checkpoints: one safetensors file with plain data in its header. Nothing in it can execute."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from cxrlearn.errors import TrainingError
from cxrlearn.runtime.atomic import disk_errors, replace_file
from cxrlearn.training.position import Position

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = "cxrlearn-checkpoint"
VERSION = 1
_PLAIN = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class Identity:
    """What a checkpoint is of: only the same may go on from it."""

    model: str
    """Backbone, head and whatever else decides the meaning of the tensors, in one line."""
    classes: tuple[str, ...]
    """The labels or classes, in order."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run needs to go on, or a model to predict."""

    identity: Identity
    """What it is of."""
    model: dict[str, Any]
    """`state_dict` of the model, on the CPU when loaded."""
    optimizer: dict[str, Any] = field(default_factory=dict)
    """`state_dict` of the optimiser; may be empty where no run will go on from here."""
    position: Position = field(default_factory=Position)
    """Where the run is."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Plain data and tensors of the caller: settings, thresholds."""


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all; the folder is made if it is missing.

    Raises:
        DiskError: it cannot be written; an earlier checkpoint at `path` stays as it was.
        TypeError: something in it is neither a tensor nor plain data.
    """
    tensors: dict[str, torch.Tensor] = {}
    tree = {
        "model": checkpoint.model,
        "optimizer": checkpoint.optimizer,
        "position": checkpoint.position.to_plain(),
        "extra": checkpoint.extra,
    }
    header = {
        "format": FORMAT,
        "version": str(VERSION),
        "model": checkpoint.identity.model,
        "classes": json.dumps(checkpoint.identity.classes),
        "tree": json.dumps(_pack(tree, tensors)),
    }
    header["sha256"] = _digest(header, tensors)
    content = save(tensors, metadata=header)
    with disk_errors(path.parent, "No checkpoint was saved."):
        path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda temporary: _write(temporary, content), step="checkpoint")


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def load_checkpoint(path: Path, expected: Identity | None = None) -> Checkpoint:
    """Read a checkpoint; all tensors are on the CPU.

    Args:
        path: the file.
        expected: what it has to be of; None: anything.

    Raises:
        TrainingError: missing, damaged, no checkpoint of ours, of a newer version, of another
            model or of other classes.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TrainingError(f"cannot read the checkpoint {path}: {error.strerror}.") from error
    header, tensors = _parse(content, path)
    _check_form(header, path)
    if header.get("sha256") != _digest(header, tensors):
        raise TrainingError(f"the checkpoint {path} is damaged: {_AGAIN}")
    identity = Identity(header["model"], tuple(json.loads(header["classes"])))
    if expected is not None:
        _check_identity(identity, expected, path)
    tree = _unpack(json.loads(header["tree"]), tensors)
    return Checkpoint(
        identity=identity,
        model=tree["model"],
        optimizer=tree["optimizer"],
        position=Position.from_plain(tree["position"]),
        extra=tree["extra"],
    )


_AGAIN = "go on from another one, or start the run anew."


def _parse(content: bytes, path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Return the header's text and the tensors of a safetensors file."""
    try:
        length = int.from_bytes(content[:8], "little")
        described = json.loads(content[8 : 8 + length])
        tensors = load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise TrainingError(
            f"{path} is no checkpoint, or a damaged one, cut short perhaps: {_AGAIN}"
        ) from error
    header = described.get("__metadata__") if isinstance(described, dict) else None
    return header if isinstance(header, dict) else {}, tensors


def _check_form(header: Mapping[str, str], path: Path) -> None:
    if header.get("format") != FORMAT:
        raise TrainingError(f"{path} is not a checkpoint of cxrlearn: {_AGAIN}")
    if header.get("version") != str(VERSION):
        raise TrainingError(
            f"the checkpoint {path} has format version {header.get('version')}; this cxrlearn "
            f"reads {VERSION}. Update cxrlearn."
        )


def _check_identity(found: Identity, expected: Identity, path: Path) -> None:
    if found.model != expected.model:
        raise TrainingError(
            f"the checkpoint {path} is of another model: it holds {found.model}, this run trains "
            f"{expected.model}. Give the run another --name, or the settings of that checkpoint."
        )
    if found.classes != expected.classes:
        raise TrainingError(
            f"the checkpoint {path} has other classes: it was trained on "
            f"{', '.join(found.classes)}; this run has {', '.join(expected.classes)}. "
            "Give the run another --name, or --class-columns as they were."
        )


def restore(
    checkpoint: Checkpoint,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
) -> None:
    """Put the tensors back into a model, and its optimiser, of the same making.

    Raises:
        TrainingError: names or shapes differ.
    """
    try:
        model.load_state_dict(checkpoint.model)
        if optimizer is not None:
            optimizer.load_state_dict(checkpoint.optimizer)
    except (RuntimeError, ValueError, KeyError) as error:
        first = " ".join(str(error).split())
        raise TrainingError(
            f"the checkpoint of {checkpoint.identity.model} does not fit this model: {first}"
        ) from error


def _pack(node: object, tensors: dict[str, torch.Tensor]) -> object:
    """Turn a tree of plain data into JSON's, moving its tensors into `tensors`."""
    if isinstance(node, torch.Tensor):
        name = str(len(tensors))
        # A copy: tied weights share memory, which safetensors refuses.
        tensors[name] = node.detach().to("cpu", copy=True).contiguous()
        return {"tensor": name}
    if isinstance(node, dict):
        return {"dict": [[_plain(key), _pack(value, tensors)] for key, value in node.items()]}
    if isinstance(node, tuple):
        return {"tuple": [_pack(item, tensors) for item in node]}
    if isinstance(node, list):
        return [_pack(item, tensors) for item in node]
    return _plain(node)


def _plain(value: object) -> object:
    if type(value) not in _PLAIN:
        raise TypeError(f"a checkpoint holds tensors and plain data only, not {type(value)}")
    return value


def _unpack(node: Any, tensors: Mapping[str, torch.Tensor]) -> Any:  # noqa: ANN401 - a JSON tree
    """Undo `_pack`."""
    if isinstance(node, list):
        return [_unpack(item, tensors) for item in node]
    if not isinstance(node, dict):
        return node
    ((what, inside),) = node.items()
    if what == "tensor":
        return tensors[inside]
    if what == "tuple":
        return tuple(_unpack(item, tensors) for item in inside)
    return {key: _unpack(value, tensors) for key, value in inside}


def _digest(header: Mapping[str, str], tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the sha256 of everything a checkpoint says, so that one flipped bit shows."""
    digest = hashlib.sha256()
    for key in sorted(header.keys() - {"sha256"}):
        digest.update(f"{key}={header[key]}\n".encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
