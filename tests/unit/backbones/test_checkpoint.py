"""Weight files are read, and nothing in them is executed."""

from __future__ import annotations

import builtins
import os
import pickle
import sys
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cxrlearn.backbones.checkpoint import read_checkpoint
from cxrlearn.errors import WeightsError
from tests.support.checkpoints import read_layout, write

if TYPE_CHECKING:
    from collections.abc import Callable

STATE = OrderedDict(weight=torch.arange(6.0).reshape(2, 3), steps=torch.tensor(7))


class Calls:
    """Pickles as a call of any function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def _save(content: object, path: Path, form: str) -> Path:
    if form == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    return path


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_tensors_and_plain_data_come_back(tmp_path: Path, form: str) -> None:
    path = _save({"state_dict": STATE, "epoch": 3, "names": ["a"]}, tmp_path / "x.pth", form)
    content = read_checkpoint(path)
    assert isinstance(content, dict)
    assert content["epoch"] == 3
    assert torch.equal(content["state_dict"]["weight"], STATE["weight"])


def test_safetensors_are_known_by_their_content(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    save_file(dict(STATE), path)
    content = read_checkpoint(path)
    assert isinstance(content, dict)
    assert torch.equal(content["weight"], STATE["weight"])


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, "system"),
        (builtins.exec, "exec"),
        (builtins.eval, "eval"),
        (Path.touch, "touch"),
        (builtins.__import__, "__import__"),
    ],
)
def test_a_malicious_pickle_is_refused_by_name_and_never_runs(
    tmp_path: Path, form: str, function: Callable[..., object], name: str
) -> None:
    mark = tmp_path / "executed"
    argument: object = mark if function is Path.touch else f"open({str(mark)!r}, 'w').close()"
    if function is os.system:
        argument = f"touch {mark}"
    attack = {"extra": Calls(function, argument), **STATE}
    path = _save(attack, tmp_path / "x.pth", form)
    with pytest.raises(WeightsError, match="Nothing in it was executed") as caught:
        read_checkpoint(path)
    assert not mark.exists()
    assert name in str(caught.value) or "getattr" in str(caught.value)
    assert caught.value.exit_code == 4


def test_an_attack_behind_an_allowed_name_is_refused(tmp_path: Path) -> None:
    """The stand-ins take a package's name, not its powers: a call through them does nothing."""
    mark = tmp_path / "executed"
    script = f"comegaconf.base\nsystem\n(S'touch {mark}'\ntR.".encode()
    path = tmp_path / "x.pth"
    path.write_bytes(b"\x80\x02" + script)
    with pytest.raises(WeightsError):
        read_checkpoint(path)
    assert not mark.exists()


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_whole_pickled_model_is_refused_with_the_way_out(tmp_path: Path, form: str) -> None:
    path = _save(nn.Sequential(nn.Linear(2, 2)), tmp_path / "x.pth", form)
    with pytest.raises(WeightsError, match=r"torch\.nn\.modules.*whole pickled model.*state_dict"):
        read_checkpoint(path)


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_foreign_classes_need_not_be_installed(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GLoRIA's file names OmegaConf and Lightning; they become things that can do nothing."""
    layout = read_layout("gloria_chexpert_resnet18")
    path = write(layout, tmp_path, published=True, legacy=form == "legacy")
    for name in [one for one in sys.modules if one.partition(".")[0] == "omegaconf"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "omegaconf", None)
    content = read_checkpoint(path)
    assert isinstance(content, dict)
    assert len(content["state_dict"]) == 323
    settings = content["hyper_parameters"]
    assert (type(settings).__module__, type(settings).__name__) == (
        "omegaconf.dictconfig",
        "DictConfig",
    )
    assert vars(settings) == {}
    assert len(content["callbacks"]) == 2


def test_omegaconf_lists_and_typed_values_are_read(tmp_path: Path) -> None:
    from omegaconf import OmegaConf

    settings = OmegaConf.create({"a": [1, "b", None], "c": {"d": 1.5, "e": True, "f": "${a}"}})
    content = read_checkpoint(_save({"cfg": settings, "w": torch.ones(2)}, tmp_path / "x", "zip"))
    assert isinstance(content, dict)
    assert torch.equal(content["w"], torch.ones(2))


def test_defaultdict_becomes_a_plain_dict(tmp_path: Path) -> None:
    content = read_checkpoint(_save({"d": defaultdict(list, a=[1])}, tmp_path / "x", "zip"))
    assert content == {"d": {"a": [1]}}
    assert isinstance(content, dict)
    assert type(content["d"]) is dict


def test_stand_ins_are_forgotten_afterwards(tmp_path: Path) -> None:
    from omegaconf import OmegaConf

    before = set(torch.serialization.get_safe_globals())
    read_checkpoint(_save({"cfg": OmegaConf.create({})}, tmp_path / "x", "zip"))
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>Google Drive - Virus scan warning", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (b"\x1f\x8b\x08\x00rest", "gzip archive"),
        (b"a" * 257 + b"ustar" + b"b" * 300, "tar archive"),
        (b"just some words", "it is text"),
        (b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09", "found bytes"),
        (b"PK\x03\x04 not really", "cut short or damaged"),
        (b"\x80\x02garbage", "cut short or damaged"),
    ],
)
def test_other_files_are_called_what_they_are(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=said) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pt", tmp_path):
        with pytest.raises(WeightsError, match=f"cannot read {path}"):
            read_checkpoint(path)


def test_torchscript_is_refused(tmp_path: Path) -> None:
    import zipfile

    path = _save(STATE, tmp_path / "x.pt", "zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x/constants.pkl", b"\x80\x02].")
    with pytest.raises(WeightsError, match="TorchScript archive, which holds code"):
        read_checkpoint(path)


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_a_file_cut_anywhere_is_a_weights_error(tmp_path: Path, form: str) -> None:
    path = tmp_path / "x.pt"
    if form == "safetensors":
        save_file(dict(STATE), path)
    else:
        _save({"state_dict": STATE, "epoch": 1}, path, form)
    whole = path.read_bytes()
    for length in sorted(set(np.random.default_rng(0).integers(0, len(whole), 60))):
        path.write_bytes(whole[: int(length)])
        with pytest.raises(WeightsError):
            read_checkpoint(path)


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_flipped_bytes_never_end_in_another_error(tmp_path: Path, form: str) -> None:
    """Garbage may happen to be readable; what it may not do is raise anything else."""
    path = tmp_path / "x.pt"
    if form == "safetensors":
        save_file(dict(STATE), path)
    else:
        _save({"state_dict": STATE, "epoch": 1}, path, form)
    whole = path.read_bytes()
    generator = np.random.default_rng(1)
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[generator.integers(len(whole))] ^= 1 << int(generator.integers(8))
        path.write_bytes(damaged)
        try:
            read_checkpoint(path)
        except WeightsError:
            continue


def test_a_flipped_bit_in_a_zipped_tensor_is_found(tmp_path: Path) -> None:
    path = _save({"w": torch.full((1000,), 0.123)}, tmp_path / "x.pt", "zip")
    whole = bytearray(path.read_bytes())
    spot = bytes(whole).index(torch.full((4,), 0.123).numpy().tobytes())
    whole[spot + 8] ^= 4
    path.write_bytes(whole)
    with pytest.raises(WeightsError, match="damaged"):
        read_checkpoint(path)
