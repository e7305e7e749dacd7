"""Checkpoints: everything comes back to the bit, or is refused in one sentence."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file

from cxrlearn.errors import DiskError, TrainingError
from cxrlearn.runtime.atomic import disk_errors, hook_write_steps
from cxrlearn.training.checkpoints import (
    Checkpoint,
    Identity,
    _write,
    load_checkpoint,
    restore,
    save_checkpoint,
)
from cxrlearn.training.position import EpochRow, Position

if TYPE_CHECKING:
    from collections.abc import Iterator

IDENTITY = Identity("chexzero, linear head", ("Edema", "Pleural, other"))
POSITION = Position(
    epoch=2,
    step=7,
    loss_sum=1 / 3,
    known=123.0,
    skipped=1,
    best=0.1 + 0.2,
    best_epoch=1,
    history=(EpochRow(0, 0.7, 1e-3, 0, None, {"auroc": None}), EpochRow(1, None, 1e-4, 4, 0.5)),
)


def _network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))


def _trained(name: str) -> Checkpoint:
    network = _network()
    make = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[name]
    optimizer = make(network.parameters(), lr=0.1, **({"momentum": 0.9} if name == "sgd" else {}))
    network(torch.randn(5, 3, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    optimizer.step()
    return Checkpoint(IDENTITY, network.state_dict(), optimizer.state_dict(), POSITION, {"seed": 3})


def _assert_same(left: object, right: object) -> None:
    if isinstance(left, torch.Tensor):
        assert isinstance(right, torch.Tensor)
        assert left.dtype == right.dtype
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert isinstance(right, dict)
        assert list(left) == list(right)
        for key in left:
            _assert_same(left[key], right[key])
    elif isinstance(left, (list, tuple)):
        assert isinstance(right, type(left))
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            _assert_same(one, other)
    else:
        assert left == right
        assert type(left) is type(right)


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "run" / "last.safetensors"
    hook_write_steps(None)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_everything_comes_back_to_the_bit(path: Path, name: str) -> None:
    saved = _trained(name)
    save_checkpoint(path, saved)
    found = load_checkpoint(path, IDENTITY)
    assert (found.identity, found.position, found.extra) == (IDENTITY, POSITION, {"seed": 3})
    _assert_same(saved.model, found.model)
    _assert_same(saved.optimizer, found.optimizer)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_all_kinds_of_tensors_and_plain_data_come_back(path: Path) -> None:
    shared = torch.arange(6.0)
    extra = {
        "half": torch.tensor([1.5, -2.0]).to(torch.bfloat16),
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 4),
        "mask": torch.tensor([True, False]),
        "tied": [shared, shared],
        "view": shared.reshape(2, 3).T,
        "nested": {1: (None, True, "é", [1e-300, -math.inf])},
    }
    save_checkpoint(path, Checkpoint(IDENTITY, {}, extra=extra))
    _assert_same(extra, load_checkpoint(path).extra)


def test_it_is_put_back_into_a_model_and_its_optimiser(path: Path) -> None:
    save_checkpoint(path, _trained("adamw"))
    loaded = load_checkpoint(path, IDENTITY)
    network = _network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=9.0)
    restore(loaded, network, optimizer)
    _assert_same(dict(network.state_dict()), loaded.model)
    assert optimizer.param_groups[0]["lr"] == 0.1
    _assert_same(optimizer.state_dict()["state"], loaded.optimizer["state"])


def test_tensors_of_another_shape_do_not_fit(path: Path) -> None:
    save_checkpoint(path, _trained("sgd"))
    with pytest.raises(TrainingError, match=r"does not fit this model: .*size mismatch"):
        restore(load_checkpoint(path), torch.nn.Sequential(torch.nn.Linear(4, 2)))


def test_what_is_not_plain_is_refused_before_anything_is_written(path: Path) -> None:
    with pytest.raises(TypeError, match="tensors and plain data only, not <class 'set'>"):
        save_checkpoint(path, Checkpoint(IDENTITY, {}, extra={"a": {1}}))
    assert not path.parent.exists()


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (
            replace(IDENTITY, model="refers, linear head"),
            "of another model: it holds chexzero, linear head, this run trains refers",
        ),
        (
            replace(IDENTITY, classes=("Edema", "Mass")),
            "other classes: it was trained on Edema, Pleural, other; this run has Edema, Mass",
        ),
        (replace(IDENTITY, classes=IDENTITY.classes[::-1]), "other classes"),
        (replace(IDENTITY, classes=("Edema", "Pleural", "other")), "other classes"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_by_name(
    path: Path, expected: Identity, message: str
) -> None:
    save_checkpoint(path, _trained("sgd"))
    with pytest.raises(TrainingError, match=message):
        load_checkpoint(path, expected)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_one_sentence(path: Path, share: float) -> None:
    save_checkpoint(path, _trained("adamw"))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(TrainingError, match="no checkpoint, or a damaged one, cut short perhaps"):
        load_checkpoint(path, IDENTITY)


def test_one_flipped_bit_anywhere_is_noticed(path: Path) -> None:
    save_checkpoint(path, _trained("sgd"))
    content = path.read_bytes()
    for at in range(0, len(content), 97):
        damaged = bytearray(content)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(TrainingError, match=r"damaged|not a checkpoint|format version"):
            load_checkpoint(path, IDENTITY)


@pytest.mark.parametrize("content", [b"PK\x03\x04 a zip", b"{}", b"\x00" * 64, b"a,b\n1,2\n"])
def test_a_foreign_file_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "last"
    path.write_bytes(content)
    with pytest.raises(TrainingError, match="is no checkpoint, or a damaged one"):
        load_checkpoint(path)


def test_safetensors_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(TrainingError, match="is not a checkpoint of cxrlearn"):
        load_checkpoint(path)
    torch.save({"a": torch.zeros(2)}, path)
    with pytest.raises(TrainingError, match="is no checkpoint, or a damaged one"):
        load_checkpoint(path)


def test_a_newer_version_says_update(tmp_path: Path) -> None:
    path = tmp_path / "last"
    metadata = {"format": "cxrlearn-checkpoint", "version": "2", "tree": json.dumps({})}
    save_file({}, path, metadata=metadata)
    with pytest.raises(
        TrainingError, match=r"has format version 2; this cxrlearn reads 1\. Update"
    ):
        load_checkpoint(path)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"cannot read the checkpoint .*No such file"):
        load_checkpoint(tmp_path / "none")


def test_a_full_disk_keeps_the_earlier_checkpoint(path: Path) -> None:
    save_checkpoint(path, _trained("sgd"))

    def full(step: str) -> None:
        if step == "checkpoint.written":
            raise DiskError("cannot write: no space left")

    hook_write_steps(full)
    later = replace(_trained("sgd"), position=replace(POSITION, epoch=9))
    with pytest.raises(DiskError):
        save_checkpoint(path, later)
    assert load_checkpoint(path, IDENTITY).position == POSITION
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_device_that_is_full_is_a_disk_error() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(DiskError, match="no space left"), disk_errors(full, "Nothing was lost."):
        _write(full, b"x" * 100_000)


def test_a_folder_that_cannot_be_made_is_a_disk_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(DiskError, match="a file stands where a folder is needed"):
        save_checkpoint(tmp_path / "run" / "last", _trained("sgd"))
