from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from cxrlearn.errors import FeatureFileError
from cxrlearn.features.stored_rows import StoredRows
from tests.support.feature_files import features_of, row_of, write_rows

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 9


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "some.h5", [row_of(number) for number in range(COUNT)])


@pytest.mark.parametrize(
    "rows",
    [slice(None), slice(0, 2), slice(1, 4), slice(3, 100), slice(2, 2), slice(5, 6)],
    ids=str,
)
def test_a_slice_is_that_of_the_matrix(file: Path, rows: slice) -> None:
    wanted = np.array([7, 2, 2, 0, 8])  # any order, and a row twice
    whole = np.stack([features_of(number) for number in wanted])
    stored = StoredRows(file, wanted, 3)
    assert stored.shape == (5, 3)
    assert len(stored) == 5
    found = stored[rows]
    assert found.dtype == np.float32
    assert np.array_equal(found, whole[rows])


def test_rows_are_taken_without_being_read(file: Path) -> None:
    stored = StoredRows(file, np.arange(COUNT), 3)
    taken = stored.take(np.array([8, 1, 3])).take(np.array([2, 0]))
    assert taken.shape == (2, 3)
    assert np.array_equal(taken[:], np.stack([features_of(3), features_of(8)]))
    file.unlink()
    assert stored.take(np.array([1])).shape == (1, 3)
    with pytest.raises(FeatureFileError, match="no feature file"):
        taken[:]


def test_no_rows_are_a_matrix_of_none(file: Path) -> None:
    assert StoredRows(file, np.array([], dtype=np.intp), 3)[:].shape == (0, 3)
