"""One flipped bit in a file never changes a number, a name or a fingerprint silently.

`CXRLEARN_BIT_FLIPS` says how many bits of each file are flipped (400; `nox -s crash` does 3,000, or
every bit of a smaller file, more than 10,000 in all).
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from cxrlearn.errors import FeatureFileError, TrainingError
from cxrlearn.features.store import read_features, read_index, read_info, read_rows
from cxrlearn.probes.model import LabelFit, LogisticFit
from cxrlearn.probes.saved import ProbeMeta, load_probe, save_probe
from cxrlearn.training.checkpoints import Checkpoint, Identity, load_checkpoint, save_checkpoint
from cxrlearn.training.position import EpochRow, Position
from tests.support.bit_flips import flip_bits
from tests.support.feature_files import row_of, write_rows

if TYPE_CHECKING:
    from pathlib import Path

FLIPS = int(os.environ.get("CXRLEARN_BIT_FLIPS", "400"))


def features_content(path: Path) -> object:
    """Return all that any reader of a feature file gets to know."""
    content, index, info = read_features(path), read_index(path), read_info(path)
    columns = (index.image_id, index.content_hash, index.size, index.mtime_ns)
    seen = (index.seen.row, index.seen.place, index.seen.mtime_ns)
    return (
        content.ids.tolist(),
        content.features.tobytes(),
        content.content_hashes.tolist(),
        content.failed,
        content.attributes,
        [column.tolist() for column in (*columns, *seen)],
        info,
    )


@pytest.mark.parametrize("rows", [5, 600])
def test_feature_file(tmp_path: Path, rows: int) -> None:
    path = write_rows(tmp_path / "a.h5", [row_of(number) for number in range(rows)])
    found = flip_bits(path, lambda: features_content(path), FeatureFileError, count=FLIPS)
    assert (found.silent, found.wrong) == ([], [])
    assert found.refused > 0


def test_rows_of_a_feature_file_of_many_blocks(tmp_path: Path) -> None:
    # Only the blocks that hold the rows are read: damage elsewhere does no harm, and is not met.
    path = write_rows(tmp_path / "a.h5", [row_of(number) for number in range(3000)], dim=128)
    rows = np.arange(100, 200)
    found = flip_bits(
        path, lambda: read_rows(path, rows).tobytes(), FeatureFileError, count=min(FLIPS, 1000)
    )
    assert (found.silent, found.wrong) == ([], [])
    assert found.refused > 0
    assert found.harmless > 0


def probe_content(folder: Path) -> object:
    """Return all that `predict` takes from a saved probe."""
    found = load_probe(folder)
    assert isinstance(found.fit, LogisticFit)
    arrays = (found.fit.weights.tobytes(), found.fit.intercept.tobytes())
    return found.fit.kind, found.fit.labels, arrays, found.meta


@pytest.mark.parametrize("name", ["probe.json", "probe.safetensors"])
def test_saved_probe(tmp_path: Path, name: str) -> None:
    labels = tuple(LabelFit(one, 0.1, 17, None, 20, 30, None, ()) for one in ("Edema", "Hernia"))
    weights = np.random.default_rng(0).normal(size=(2, 40))
    fit = LogisticFit("multilabel", weights, np.array([0.5, -1.0]), labels)
    save_probe(tmp_path, fit, ProbeMeta("cxr-tiny", "ab" * 32))
    found = flip_bits(tmp_path / name, lambda: probe_content(tmp_path), TrainingError, count=FLIPS)
    assert (found.silent, found.wrong) == ([], [])
    assert found.refused > 0


def checkpoint_content(path: Path) -> object:
    """Return all that a run goes on from."""
    found = load_checkpoint(path)
    tensors = {name: (t.dtype, t.shape, t.numpy().tobytes()) for name, t in found.model.items()}
    return found.identity, tensors, repr(found.optimizer), asdict(found.position), found.extra


def test_checkpoint(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network(torch.ones(5, 3)).square().sum().backward()
    optimizer.step()
    history = (EpochRow(0, 0.7, 1e-3, 0, None, {"val_auroc": 0.5}),)
    path = tmp_path / "last.safetensors"
    save_checkpoint(
        path,
        Checkpoint(
            Identity("cxr-tiny, linear head", ("Edema", "Hernia")),
            network.state_dict(),
            optimizer.state_dict(),
            Position(epoch=1, step=3, best=0.3, history=history),
            {"failed": {"train": {"3": "torn"}}},
        ),
    )
    found = flip_bits(path, lambda: checkpoint_content(path), TrainingError, count=FLIPS)
    assert (found.silent, found.wrong) == ([], [])
    assert found.refused > 0
