"""Splits made by hand: features, labels and a manifest whose images nobody opens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cxrlearn.data.columns import ColumnChoice, find_roles
from cxrlearn.data.labels import LabelPolicy, Task
from cxrlearn.data.manifest import Manifest
from cxrlearn.workflows.probe_config import ProbeConfig
from cxrlearn.workflows.probe_data import SplitData
from cxrlearn.workflows.settings import NamedPath

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

TASK = Task("multilabel", ("A", "B"), ("A", "B"), LabelPolicy())


def manifest(name: str = "train", **columns: Sequence[str | None]) -> Manifest:
    """Return a manifest with these columns of equal length, `Path` among them or made up."""
    count = len(next(iter(columns.values())))
    content = {"Path": [f"{name}/{row:05d}.png" for row in range(count)], **columns}
    table = pd.DataFrame(
        {key: pd.Series(list(cells), dtype=object) for key, cells in content.items()}
    )
    ids = tuple(map(str, content["Path"]))
    file = Path(f"{name}.csv")
    return Manifest(
        name=name,
        file=file,
        image_root=Path(),
        image_ids=ids,
        paths=tuple(map(Path, ids)),
        table=table,
        rows=tuple(range(2, count + 2)),
        columns=find_roles(file, table, ColumnChoice()),
    )


def split(
    features: NDArray[np.floating],
    values: NDArray[Any],
    known: NDArray[np.bool_] | None = None,
    /,
    *,
    name: str = "train",
    **columns: Sequence[str | None],
) -> SplitData:
    """Return rows with these features (N, D) and labels (N, L)."""
    truth = np.asarray(values, dtype=np.int8)
    columns = columns or {"patient_id": [f"{name}-{row}" for row in range(len(truth))]}
    return SplitData(
        manifest(name, **columns),
        np.asarray(features, dtype=np.float32),
        truth,
        np.ones(truth.shape, dtype=bool) if known is None else known,
    )


def settings(**changes: Any) -> ProbeConfig:  # noqa: ANN401 - fields of ProbeConfig
    """Return settings of a probe whose files are never read."""
    given: dict[str, Any] = {
        "train_csv": Path("train.csv"),
        "val_csv": Path("val.csv"),
        "test_csv": (NamedPath("test.csv"),),
        "workers": 0,
        "device": "cpu",
    }
    return ProbeConfig(**{**given, **changes})


def learnable(
    count: int,
    *,
    name: str = "train",
    seed: int = 0,
    images: int = 1,
    labels: int = 2,
    dim: int = 12,
) -> SplitData:
    """Return `count` patients of `images` images each, whose labels the features give away."""
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(count), images)
    truth = rng.integers(0, 2, size=(count, labels))
    truth[: 2 * labels] = np.tile([[0], [1]], (labels, labels))  # both values, whatever the seed
    features = rng.normal(size=(count * images, dim))
    features[:, :labels] += 1.5 * truth[patients]
    return split(
        features,
        truth[patients],
        name=name,
        patient_id=[f"{name}-{patient:04d}" for patient in patients],
    )
