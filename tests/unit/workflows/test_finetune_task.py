from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from cxrlearn.data.labels import Labels
from cxrlearn.data.training_batches import ImageBatch
from cxrlearn.workflows.finetune_task import (
    ImageTask,
    class_odds,
    label_weights,
    learned_labels,
)

VALUES = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 0, 0]], dtype=np.int8)
KNOWN = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=bool)
LABELS = Labels(VALUES, KNOWN, ~KNOWN)


def batch(values: np.ndarray, known: np.ndarray) -> ImageBatch:
    pixels = torch.zeros(len(values), 1, 2, 2, dtype=torch.uint8)
    return ImageBatch(
        torch.arange(len(values)), pixels, torch.from_numpy(values), torch.from_numpy(known)
    )


def task(kind: str, logits: torch.Tensor, weight: torch.Tensor | None = None) -> ImageTask:
    learned = torch.from_numpy(learned_labels(LABELS))
    if kind == "multiclass":
        learned = torch.ones(3, dtype=torch.bool)
    return ImageTask(lambda pixels: logits[: len(pixels)], kind, learned, weight)


def test_a_label_of_one_class_is_not_learned() -> None:
    assert learned_labels(LABELS).tolist() == [True, True, False]


def test_balancing_weighs_positives_by_negatives() -> None:
    # Label 0: one known positive, two negatives; label 1: one and two; label 2: no positive.
    assert label_weights(LABELS, "multilabel").tolist() == [2.0, 2.0, 1.0]


def test_the_loss_is_that_of_each_known_learned_label_written_out() -> None:
    logits = torch.linspace(-2, 2, 12).view(4, 3)
    weight = torch.tensor([2.0, 3.0, 1.0])
    found = task("multilabel", logits, weight)
    expected = 0.0
    for row, column in np.argwhere(KNOWN[:, :2]):
        one, truth = logits[row, column], float(VALUES[row, column])
        loss = functional.binary_cross_entropy_with_logits(one, torch.tensor(truth))
        expected += float(loss) * (float(weight[column]) if truth else 1.0)
    assert found.known(batch(VALUES, KNOWN)) == 6
    torch.testing.assert_close(float(found.loss(batch(VALUES, KNOWN))), expected)


def test_classes_count_rows_and_weigh_them_by_class() -> None:
    values = np.eye(3, dtype=np.int8)[[0, 2, 1, 1]]
    known = np.repeat(np.array([[True], [True], [False], [True]]), 3, axis=1)
    logits = torch.linspace(-1, 1, 12).view(4, 3).flip(1)
    weight = torch.tensor([1.0, 2.0, 3.0])
    found = task("multiclass", logits, weight)
    each = functional.cross_entropy(logits, torch.tensor([0, 2, 1, 1]), reduction="none")
    expected = each[0] * 1 + each[1] * 3 + each[3] * 2
    assert found.known(batch(values, known)) == 3
    torch.testing.assert_close(found.loss(batch(values, known)), expected)


def test_odds_of_classes_are_those_of_their_softmax() -> None:
    outputs = np.random.default_rng(0).normal(size=(5, 4)) * 3
    p = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(class_odds(outputs), np.log(p / (1 - p)), rtol=1e-10)
