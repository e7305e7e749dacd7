"""Masked losses against sums written out in Python floats."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cxrlearn.training.losses import binary_loss_sum, class_loss_sum


def _log_sigmoid(z: float) -> float:
    return -math.log1p(math.exp(-z)) if z > 0 else z - math.log1p(math.exp(z))


def _slow_binary(
    logits: torch.Tensor, targets: torch.Tensor, known: torch.Tensor, weight: list[float]
) -> float:
    losses = [
        -weight[j] * _log_sigmoid(float(logits[i, j]))
        if targets[i, j] == 1
        else -_log_sigmoid(-float(logits[i, j]))
        for i in range(len(logits))
        for j in range(logits.shape[1])
        if known[i, j]
    ]
    return math.fsum(losses)


def _slow_classes(logits: torch.Tensor, classes: list[int], known: list[bool]) -> float:
    losses = []
    for row, true_class, counted in zip(logits.tolist(), classes, known, strict=True):
        if counted:
            top = max(row)
            total = math.fsum(math.exp(z - top) for z in row)
            losses.append(math.log(total) + top - row[true_class])
    return math.fsum(losses)


def _labels(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(9, 4, generator=generator)
    targets = (torch.rand(9, 4, generator=generator) < 0.3).to(torch.int8)
    return logits, targets, torch.rand(9, 4, generator=generator) < 0.6


@pytest.mark.parametrize("weight", [None, [1.0, 4.0, 0.5, 20.0]])
def test_binary_loss_is_the_sum_over_known_labels(weight: list[float] | None) -> None:
    logits, targets, known = _labels()
    given = None if weight is None else torch.tensor(weight)
    found = binary_loss_sum(logits, targets, known, pos_weight=given)
    expected = _slow_binary(logits, targets, known, weight or [1.0] * 4)
    assert float(found.total) == pytest.approx(expected, rel=1e-6)
    assert int(found.known) == int(known.sum())


def test_class_loss_is_the_sum_over_known_rows() -> None:
    logits, _, _ = _labels()
    classes, known = [0, 1, 2, 3, 3, 2, 1, 0, 0], [True, False, True] * 3
    found = class_loss_sum(logits, torch.tensor(classes), torch.tensor(known))
    assert float(found.total) == pytest.approx(_slow_classes(logits, classes, known), rel=1e-6)
    assert int(found.known) == 6


def test_class_weights_multiply_the_loss_of_their_class() -> None:
    logits, _, _ = _labels()
    classes = torch.tensor([0, 1, 2, 3, 3, 2, 1, 0, 0])
    known = torch.ones(9, dtype=torch.bool)
    weighted = class_loss_sum(
        logits, classes, known, class_weight=torch.tensor([2.0, 1.0, 1.0, 1.0])
    )
    plain = class_loss_sum(logits, classes, known).total
    zeros = class_loss_sum(logits, classes, classes == 0).total
    assert float(weighted.total) == pytest.approx(float(plain + zeros), rel=1e-6)
    assert int(weighted.known) == 9


@pytest.mark.parametrize("rubbish", [math.nan, math.inf, 1e38])
def test_masked_places_never_matter_and_get_a_gradient_of_exactly_zero(rubbish: float) -> None:
    logits, targets, known = _labels()
    spoilt = torch.where(known, logits, rubbish).requires_grad_()
    wrong = torch.where(known, targets.float(), math.nan)
    found = binary_loss_sum(spoilt, wrong, known).total
    assert torch.equal(found, binary_loss_sum(logits, targets, known).total)
    (gradient,) = torch.autograd.grad(found, spoilt)
    assert torch.equal(gradient[~known], torch.zeros(int((~known).sum())))
    assert bool((gradient[known] != 0).all())


@pytest.mark.parametrize("rubbish", [math.nan, -math.inf])
def test_masked_rows_of_classes_never_matter(rubbish: float) -> None:
    logits, _, _ = _labels()
    known = torch.tensor([True, False, True] * 3)
    classes = torch.where(known, torch.arange(9) % 4, -7)
    spoilt = torch.where(known[:, None], logits, rubbish).requires_grad_()
    found = class_loss_sum(spoilt, classes, known).total
    (gradient,) = torch.autograd.grad(found, spoilt)
    assert torch.equal(found, class_loss_sum(logits, torch.arange(9) % 4, known).total)
    assert torch.equal(gradient[~known], torch.zeros(3, 4))


def test_nothing_known_is_a_loss_of_zero_with_a_gradient_of_zero() -> None:
    logits, targets, known = _labels()
    logits.requires_grad_()
    found = binary_loss_sum(logits, targets, torch.zeros_like(known))
    (gradient,) = torch.autograd.grad(found.total, logits)
    assert (float(found.total.detach()), int(found.known)) == (0.0, 0)
    assert torch.equal(gradient, torch.zeros(9, 4))


def test_models_side_by_side_have_a_loss_each() -> None:
    first, targets, known = _labels()
    both = torch.stack([first, -2 * first])
    found = binary_loss_sum(both, targets, known)
    each = [binary_loss_sum(logits, targets, known).total for logits in both]
    torch.testing.assert_close(found.total, torch.stack(each))
    classes, rows = torch.arange(9) % 4, known[:, 0]
    found = class_loss_sum(both, classes, rows)
    each = [class_loss_sum(logits, classes, rows).total for logits in both]
    torch.testing.assert_close(found.total, torch.stack(each))


def test_sums_over_parts_divided_once_are_the_mean_over_all_known_labels() -> None:
    logits, targets, known = _labels()
    cuts = [slice(0, 1), slice(1, 7), slice(7, 9)]
    parts = [binary_loss_sum(logits[cut], targets[cut], known[cut]) for cut in cuts]
    mean = sum(float(part.total) for part in parts) / sum(int(part.known) for part in parts)
    whole = binary_loss_sum(logits, targets, known)
    assert mean == pytest.approx(float(whole.total / whole.known), rel=1e-6)
    mean_of_means = np.mean([float(part.total / part.known) for part in parts])
    assert mean != pytest.approx(mean_of_means, rel=1e-3)


def test_half_precision_logits_are_added_in_float32() -> None:
    logits, targets, known = _labels()
    found = binary_loss_sum(logits.to(torch.bfloat16), targets, known).total
    assert found.dtype == torch.float32
    rounded = binary_loss_sum(logits.to(torch.bfloat16).float(), targets, known).total
    assert torch.equal(found, rounded)


def test_extreme_logits_give_finite_losses() -> None:
    logits = torch.tensor([[-1e30, 1e30]])
    found = binary_loss_sum(logits, torch.tensor([[1, 0]]), torch.ones(1, 2, dtype=torch.bool))
    assert float(found.total) == pytest.approx(2e30)
