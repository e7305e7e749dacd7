"""The vectorised patient bootstrap, against copying the rows of drawn patients."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from cxrlearn.evaluation.bootstrap import (
    patient_bootstrap_auroc,
    patient_counts,
    percentile_interval,
    resample,
)
from cxrlearn.evaluation.inputs import Truth, check_truth, cluster_rows
from tests.support.auroc_oracles import bootstrap_by_copying


class Case(NamedTuple):
    y: npt.NDArray[np.int8]
    known: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float64]
    patients: list[str]

    @property
    def truth(self) -> Truth:
        return check_truth(self.y, self.known, names=[str(i) for i in range(self.y.shape[1])])


def _case(seed: int, *, rows: int = 60, ties: bool = True, prevalence: float = 0.3) -> Case:
    rng = np.random.default_rng(seed)
    y = (rng.random((rows, 3)) < (prevalence, 1 - prevalence, 0.05)).astype(np.int8)
    scores = rng.normal(size=y.shape) + y
    return Case(
        y=y,
        known=rng.random(y.shape) < 0.8,
        scores=np.round(scores, 1) if ties else scores,
        patients=[f"p{i}" for i in rng.integers(0, 20, rows)],
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("ties", [True, False])
def test_every_replicate_equals_scikit_learn_on_the_copied_rows(seed: int, *, ties: bool) -> None:
    case = _case(seed, ties=ties)
    clusters = cluster_rows(len(case.y), case.patients)
    found = patient_bootstrap_auroc(
        case.truth, case.scores, clusters, n_replicates=12, rng=np.random.default_rng(seed)
    )
    drawn = patient_counts(clusters.count, 12, np.random.default_rng(seed))
    expected = bootstrap_by_copying(case.y, case.known, case.scores, case.patients, drawn)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_replicates_do_not_depend_on_row_order_to_the_last_bit() -> None:
    case = _case(1)
    order = np.random.default_rng(0).permutation(len(case.y))
    patients = [case.patients[i] for i in order]
    found = [
        patient_bootstrap_auroc(
            truth, scores, cluster_rows(60, owners), n_replicates=40, rng=np.random.default_rng(3)
        )
        for truth, scores, owners in [
            (case.truth, case.scores, case.patients),
            (
                Truth(case.truth.positive[order], case.truth.known[order]),
                case.scores[order],
                patients,
            ),
        ]
    ]
    np.testing.assert_array_equal(found[0], found[1])


def test_all_rows_of_a_drawn_patient_are_drawn_together() -> None:
    counts = np.hstack(list(patient_counts(50, 200, np.random.default_rng(0))))
    assert counts.shape == (50, 200)
    assert (counts.sum(axis=0) == 50).all()
    # Poisson-like with mean 1 and variance 1 - 1/50.
    assert counts.mean() == 1
    assert counts.var() == pytest.approx(0.98, rel=0.05)


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_replicates_do_not_depend_on_the_block_size(block: int) -> None:
    expected = np.hstack(list(patient_counts(12, 30, np.random.default_rng(5))))
    found = np.hstack(list(patient_counts(12, 30, np.random.default_rng(5), block=block)))
    np.testing.assert_array_equal(found, expected)


def test_label_with_one_class_is_undefined_in_every_replicate() -> None:
    case = _case(0)
    truth = Truth(case.truth.positive & False, case.truth.known)
    clusters = cluster_rows(60, case.patients)
    found = patient_bootstrap_auroc(
        truth, case.scores, clusters, n_replicates=5, rng=np.random.default_rng(0)
    )
    assert np.isnan(found).all()


def test_no_rows_give_undefined_replicates() -> None:
    empty = check_truth(np.zeros((0, 2)), None, names=["a", "b"])
    found = patient_bootstrap_auroc(
        empty, np.zeros((0, 2)), cluster_rows(0, []), n_replicates=4, rng=np.random.default_rng(0)
    )
    assert found.shape == (4, 2)
    assert np.isnan(found).all()


class _Drawn:
    """A statistic that says who was drawn."""

    def on(self, counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return counts


def test_all_statistics_see_the_same_replicates_in_their_order() -> None:
    found = resample([_Drawn(), _Drawn()], 7, n_replicates=37, rng=np.random.default_rng(2))
    expected = np.hstack(list(patient_counts(7, 37, np.random.default_rng(2))))
    for drawn in found:
        np.testing.assert_array_equal(drawn, expected)


def test_interval_names_the_cause_of_lost_replicates() -> None:
    values = np.full(100, np.nan)
    values[:70] = 0.5
    assert percentile_interval(values, cause="had no row above").caution == (
        "30 of 100 replicates had no row above and are left out"
    )


def test_interval_is_the_central_95_percent_of_defined_replicates() -> None:
    values = np.random.default_rng(0).permutation(np.linspace(0, 1, 1001))
    interval = percentile_interval(values)
    assert interval.low == pytest.approx(0.025)
    assert interval.high == pytest.approx(0.975)
    assert (interval.undefined, interval.reason, interval.caution) == (0, None, None)


@pytest.mark.parametrize(
    ("undefined", "flagged", "refused"),
    [
        (0, False, False),
        (50, False, False),
        (51, True, False),
        (500, True, False),
        (501, True, True),
    ],
)
def test_lost_replicates_are_counted_flagged_above_5_and_refused_above_50_percent(
    undefined: int, *, flagged: bool, refused: bool
) -> None:
    values = np.linspace(0, 1, 1000)
    values[:undefined] = np.nan
    interval = percentile_interval(values)
    said = f"{undefined} of 1,000 replicates lost a class"
    assert interval.undefined == undefined
    assert (interval.low is None) == refused
    assert (interval.reason == f"no interval: {said}") == refused
    assert (interval.caution == f"{said} and are left out") == (flagged and not refused)
