"""Subsets of training patients: whole patients, nested, seeded, blind to the order of rows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cxrlearn.workflows.subsets import PatientOrder

PATIENTS = [f"P{row % 10}" for row in range(25)]
IMAGES = [f"{row}.png" for row in range(25)]


def order(*, seed: int = 0, repeat: int = 0) -> PatientOrder:
    return PatientOrder(PATIENTS, IMAGES, seed=seed, repeat=repeat)


def owners(rows: np.ndarray) -> set[str]:
    return {PATIENTS[row] for row in rows}


@pytest.mark.parametrize(
    ("share", "patients"), [(1, 10), (0.5, 5), (0.51, 6), (0.3, 3), (0.7, 7), (0.01, 1), (1e-15, 1)]
)
def test_shares_are_of_patients_and_rounded_up(share: float, patients: int) -> None:
    rows = order().fraction(share)
    assert len(owners(rows)) == patients
    assert rows.tolist() == sorted(rows)


def test_a_product_that_rounds_up_by_an_ulp_takes_no_patient_more() -> None:
    assert 0.07 * 100 > 7
    names = [str(number) for number in range(100)]
    assert len(PatientOrder(names, names, seed=0, repeat=0).fraction(0.07)) == 7


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_all_images_of_a_patient_come_along_or_none(share: float) -> None:
    rows = order().fraction(share)
    assert sorted(rows) == [row for row, name in enumerate(PATIENTS) if name in owners(rows)]


def test_subsets_of_one_order_are_nested() -> None:
    one = order()
    shares = [set(one.fraction(share)) for share in (0.1, 0.2, 0.5, 1)]
    assert all(small < large for small, large in itertools.pairwise(shares))
    positive = np.random.default_rng(0).random((25, 3)) < 0.4
    shots = [set(one.shots(positive, ~positive, count)) for count in (1, 2, 3, 30)]
    assert all(small <= large for small, large in itertools.pairwise(shots))
    assert len(shots[-1]) == 25


def test_equal_seeds_draw_equal_subsets_and_repeats_others() -> None:
    def drawn(**numbers: int) -> list[int]:
        return list(map(int, order(**numbers).fraction(0.5)))

    assert drawn() == drawn()
    assert len({tuple(drawn(repeat=repeat)) for repeat in range(5)}) > 1
    assert len({tuple(drawn(seed=seed)) for seed in range(5)}) > 1


def test_the_order_of_rows_decides_nothing() -> None:
    shuffled = np.random.default_rng(3).permutation(25)
    patients = [None if name == "P4" else name for name in PATIENTS]
    one = PatientOrder(patients, IMAGES, seed=0, repeat=2)
    other = PatientOrder(
        [patients[row] for row in shuffled], [IMAGES[row] for row in shuffled], seed=0, repeat=2
    )
    positive = np.random.default_rng(0).random((25, 2)) < 0.4
    assert set(one.fraction(0.4)) == set(shuffled[other.fraction(0.4)])
    chosen = other.shots(positive[shuffled], ~positive[shuffled], 2)
    assert set(one.shots(positive, ~positive, 2)) == set(shuffled[chosen])


def test_images_without_a_patient_are_patients_of_their_own() -> None:
    # Neither one patient together, nor taken for the patient who has the name of an image.
    found = PatientOrder([None, None, None, "a", "a"], ["a", "b", "c", "d", "e"], seed=0, repeat=0)
    assert found.count == 4


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_label_gets_its_shots_where_there_are_that_many(count: int) -> None:
    flags = np.zeros((25, 3), dtype=bool)
    flags[[0, 10, 1, 2, 3], 0] = True  # patients 0 to 3
    flags[[5], 1] = True  # one patient
    flags[:, 2] = True  # no negative one
    rows = order().shots(flags, ~flags, count)
    for label, most in enumerate((4, 1, 10)):
        assert len(owners(rows[flags[rows, label]])) >= min(count, most)
    for label, most in enumerate((9, 10, 0)):
        assert len(owners(rows[~flags[rows, label]])) >= min(count, most)


def test_shots_are_the_fewest_for_one_label() -> None:
    flags = np.array([[int(name[1:]) < 4] for name in PATIENTS])
    for count in (1, 2, 3, 4):
        assert len(owners(order().shots(flags, ~flags, count))) == 2 * count


def test_unknown_rows_are_no_shots() -> None:
    unknown = np.zeros((25, 1), dtype=bool)
    assert len(order().shots(unknown, unknown, 3)) == 0
