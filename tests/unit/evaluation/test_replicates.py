"""Every metric on every replicate, against copying the rows of drawn patients and scoring them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from sklearn import metrics as peer

from cxrlearn.evaluation.averages import average, weighted_mean
from cxrlearn.evaluation.bootstrap import (
    patient_bootstrap_auroc,
    patient_counts,
    percentile_interval,
)
from cxrlearn.evaluation.replicates import METRICS, POSITIVES, Replicates, replicate
from cxrlearn.evaluation.scored_set import ScoredSet, scored_set
from cxrlearn.evaluation.sums import label_sums
from cxrlearn.evaluation.thresholds import Threshold
from tests.support.metric_oracles import (
    average_precision_by_thresholds,
    bins_by_rank,
    brier_by_rows,
    replicates_by_copying,
)

if TYPE_CHECKING:
    from collections.abc import Callable

REPLICATES = 9
CUTS = (0.3, 1.5)
NAMES = ("often", "mostly", "rarely")


class Case(NamedTuple):
    y: npt.NDArray[np.int8]
    known: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float64]
    patients: list[str | None]

    def data(self) -> ScoredSet:
        return scored_set(
            self.y,
            self.scores,
            known=self.known,
            names=NAMES,
            kind="multilabel",
            patients=self.patients,
            image_ids=None,
            not_scored=None,
        )

    def replicates(self, seed: int) -> Replicates:
        points = [[Threshold("youden", cut, None, 20, 20) for cut in CUTS]] * 3
        return replicate(self.data(), points, n_replicates=REPLICATES, seed=seed)

    def copied(self, seed: int, metric: Callable[[list[int]], float]) -> npt.NDArray[np.float64]:
        patients = [str(patient) for patient in self.patients]
        drawn = patient_counts(len(set(patients)), REPLICATES, np.random.default_rng(seed))
        return replicates_by_copying(metric, patients, drawn)

    def rows(self, rows: list[int], label: int) -> tuple[list[int], list[float], list[int]]:
        """Truth and scores of the known rows among `rows`, and their numbers."""
        kept = [i for i in rows if self.known[i, label]]
        return self.y[kept, label].tolist(), self.scores[kept, label].tolist(), kept


def _positives(case: Case, label: int, drawn: list[int]) -> float:
    return sum(case.rows(drawn, label)[0])


def _case(seed: int, *, ties: bool = True) -> Case:
    rng = np.random.default_rng(seed)
    y = (rng.random((60, 3)) < (0.3, 0.7, 0.06)).astype(np.int8)
    scores = rng.normal(size=y.shape) + y
    return Case(
        y=y,
        known=rng.random(y.shape) < 0.8,
        scores=np.round(scores, 1) if ties else scores,
        patients=[f"p{i}" for i in rng.integers(0, 20, 60)],
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("label", range(3))
def test_average_precision_and_brier_of_replicates_equal_those_of_copied_rows(
    seed: int, *, ties: bool, label: int
) -> None:
    case = _case(seed, ties=ties)
    found = case.replicates(seed).labels[label]
    for name, oracle in (
        ("average_precision", average_precision_by_thresholds),
        ("brier", brier_by_rows),
    ):

        def score(
            drawn: list[int], oracle: Callable[[list[int], list[float]], float] = oracle
        ) -> float:
            return oracle(*case.rows(drawn, label)[:2])

        expected = case.copied(seed, score)
        np.testing.assert_allclose(found[METRICS[name].row], expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("label", range(3))
def test_calibration_error_of_replicates_keeps_the_bins_of_the_data(label: int) -> None:
    case = _case(1)
    _, scores, rows = case.rows(list(range(60)), label)
    bin_of = dict(zip(rows, bins_by_rank(scores), strict=True))

    def error(drawn: list[int]) -> float:
        truth, logits, kept = case.rows(drawn, label)
        excess = 1 / (1 + np.exp(-np.array(logits))) - truth
        gaps = np.bincount([bin_of[i] for i in kept], excess, minlength=15)
        return float(np.abs(gaps).sum() / len(kept))

    found = case.replicates(1).labels[label][METRICS["calibration_error"].row]
    np.testing.assert_allclose(found, case.copied(1, error), rtol=0, atol=1e-14)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("point", range(2))
def test_ratios_at_thresholds_of_replicates_equal_scikit_learn_on_copied_rows(
    seed: int, point: int
) -> None:
    case = _case(seed)
    found = case.replicates(seed).at(0, point)
    for row, metric in enumerate(
        [
            lambda y, called: peer.recall_score(y, called, zero_division=np.nan),
            lambda y, called: peer.recall_score(y, called, pos_label=0, zero_division=np.nan),
            lambda y, called: peer.precision_score(y, called, zero_division=np.nan),
            lambda y, called: peer.precision_score(y, called, pos_label=0, zero_division=np.nan),
            lambda y, called: peer.f1_score(y, called, zero_division=np.nan),
        ]
    ):

        def score(drawn: list[int], metric: Callable[..., float] = metric) -> float:
            truth, logits, _ = case.rows(drawn, 0)
            return metric(truth, (np.array(logits) >= CUTS[point]).astype(int))

        np.testing.assert_allclose(found[row], case.copied(seed, score), rtol=0, atol=1e-14)


@pytest.mark.parametrize("seed", range(3))
def test_pooled_labels_equal_scikit_learn_on_copied_rows_of_all_labels(seed: int) -> None:
    case = _case(seed)
    ranked = case.data().ranked()

    def pooled(metric: Callable[..., float]) -> Callable[[list[int]], float]:
        def score(drawn: list[int]) -> float:
            parts = [case.rows(drawn, label) for label in ranked]
            truth, logits, _ = zip(*parts, strict=True)
            return float(metric(np.concatenate(truth), np.concatenate(logits)))

        return score

    found = case.replicates(seed).pool
    for row, metric in enumerate([peer.roc_auc_score, peer.average_precision_score]):
        np.testing.assert_allclose(found[row], case.copied(seed, pooled(metric)), atol=1e-14)


def test_auroc_and_positives_stand_beside_the_other_metrics() -> None:
    case = _case(2)
    found, data = case.replicates(7), case.data()
    expected = patient_bootstrap_auroc(
        data.truth,
        case.scores,
        data.clusters,
        n_replicates=REPLICATES,
        rng=np.random.default_rng(7),
    )
    np.testing.assert_array_equal(found.of(METRICS["auroc"].row, range(3)), expected)
    for label in range(3):
        positives = case.copied(7, partial(_positives, case, label))
        np.testing.assert_array_equal(found.labels[label][POSITIVES], positives)


def test_averages_equal_scikit_learn_on_the_data() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random((300, 3)) < (0.3, 0.5, 0.1)).astype(np.int8)
    scores = np.round(rng.normal(size=y.shape) + y, 1)
    case = Case(y, np.ones(y.shape, bool), scores, [str(i) for i in range(300)])
    for found in average(case.data(), case.replicates(0)):
        if found.metric == "auroc":
            expected = peer.roc_auc_score(y, scores, average=found.average)
        elif found.metric == "average_precision":
            expected = peer.average_precision_score(y, scores, average=found.average)
        else:
            metric = METRICS[found.metric].score
            expected = np.mean([metric(*case.data().known(i)[:2]) for i in range(3)])
        assert found.estimate.value == pytest.approx(expected, abs=1e-13), found
        assert found.labels == NAMES


def test_a_weighted_replicate_weighs_by_its_own_positives() -> None:
    case = _case(0)
    found = case.replicates(3)
    values = found.of(METRICS["auroc"].row, [0, 1])
    weights = found.of(POSITIVES, [0, 1])
    np.testing.assert_allclose(
        weighted_mean(values, weights), np.average(values, axis=1, weights=weights), atol=1e-15
    )
    assert (weights[0] != weights[1]).any()


def test_a_lost_label_makes_its_weighted_mean_undefined() -> None:
    found = weighted_mean(np.array([[0.5, np.nan], [0.5, 1.0]]), np.array([[2.0, 0.0], [3.0, 1.0]]))
    np.testing.assert_array_equal(found, [np.nan, 0.625])


def test_nothing_depends_on_row_order_to_the_last_bit() -> None:
    case = _case(3, ties=False)
    order = np.random.default_rng(1).permutation(60)
    turned = Case(
        case.y[order], case.known[order], case.scores[order], [case.patients[i] for i in order]
    )
    here, there = case.replicates(5), turned.replicates(5)
    np.testing.assert_array_equal(there.pool, here.pool)
    for found, expected in zip(there.labels, here.labels, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_sums_of_a_patient_do_not_depend_on_row_order_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    positive, score, codes = rng.random(500) < 0.3, rng.normal(size=500), rng.integers(0, 9, 500)
    order = rng.permutation(500)
    here = label_sums(positive, score, codes, 9, [0.1])
    there = label_sums(positive[order], score[order], codes[order], 9, [0.1])
    np.testing.assert_array_equal(there.patients.toarray(), here.patients.toarray())


@pytest.mark.parametrize("rare", [0, 1])
def test_replicate_that_loses_a_class_has_neither_auroc_nor_average_precision(rare: int) -> None:
    case = _case(0)
    case.y[:, 0], case.known[:, 0] = 1 - rare, True
    case.y[:2, 0] = rare
    lost = case.copied(0, lambda rows: float(not any(case.y[i, 0] == rare for i in rows))) == 1
    assert 0 < lost.sum() < REPLICATES
    found = case.replicates(0).labels[0]
    for name in ("auroc", "average_precision"):
        np.testing.assert_array_equal(np.isnan(found[METRICS[name].row]), lost)


def test_weighted_average_weighs_a_replicate_by_its_own_positives() -> None:
    case = _case(0)
    found, data = case.replicates(3), case.data()
    row, labels = METRICS["auroc"].row, data.ranked()
    expected = percentile_interval(
        weighted_mean(found.of(row, labels), found.of(POSITIVES, labels))
    )
    weighted = next(
        a.estimate for a in average(data, found) if (a.average, a.metric) == ("weighted", "auroc")
    )
    assert (weighted.low, weighted.high) == (expected.low, expected.high)
    assert expected.low is not None


def test_part_of_a_set_keeps_patients_and_their_order() -> None:
    case = _case(4)
    case.patients[3] = case.patients[4] = case.patients[9] = None
    chosen = np.arange(60) % 3 == 0
    part, patients = (
        case.data().rows(chosen),
        [p for p, c in zip(case.patients, chosen, strict=True) if c],
    )
    direct = Case(case.y[chosen], case.known[chosen], case.scores[chosen], patients).data()
    np.testing.assert_array_equal(part.clusters.codes, direct.clusters.codes)
    assert part.clusters == replace(direct.clusters, codes=part.clusters.codes)
    np.testing.assert_array_equal(part.scores, direct.scores)
    np.testing.assert_array_equal(part.truth.positive, direct.truth.positive)
