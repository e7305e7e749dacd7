"""Heads side by side: apart from one another, closed ones silent; every row once an epoch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cxrlearn.probes.heads import (
    Heads,
    LabelledRows,
    RowBatches,
    Scaling,
    balancing_weight,
    starting_bias,
)
from cxrlearn.probes.labelled import Labelled
from cxrlearn.training.losses import binary_loss_sum

CPU = torch.device("cpu")


def _heads(count: int = 3) -> tuple[Heads, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    heads = Heads(count, torch.tensor([0.5, -1.0]), 4)
    with torch.no_grad():
        for weight in heads.weights:
            weight.copy_(torch.randn(2, 4, generator=generator))
    return heads, torch.randn(9, 4, generator=generator)


def test_each_head_is_a_linear_layer_of_its_own() -> None:
    heads, features = _heads()
    logits = heads(features)
    assert logits.shape == (3, 9, 2)
    for number in range(3):
        weight, bias = heads.head(number)
        expected = features.double().numpy() @ weight.T + bias
        np.testing.assert_allclose(logits[number].detach().numpy(), expected, atol=1e-6)
    torch.testing.assert_close(heads.scores(features), logits.detach())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e35])
def test_a_head_that_diverged_is_closed_and_gets_gradients_of_exactly_zero(value: float) -> None:
    heads, features = _heads()
    with torch.no_grad():
        heads.weights[1][0, 2] = value
    targets, known = torch.zeros(9, 2), torch.ones(9, 2, dtype=torch.bool)
    losses = binary_loss_sum(heads.training_logits(features), targets, known).total
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert heads.open.tolist() == [True, False, True]
    assert bool(losses.isfinite().all())
    for number, weight in enumerate(heads.weights):
        assert weight.grad is not None
        assert bool((weight.grad == 0).all()) == (number == 1)
    healthy, _ = _heads()
    binary_loss_sum(healthy(features), targets, known).total.sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(heads.weights[0].grad, healthy.weights[0].grad)


def test_every_row_comes_once_an_epoch_with_its_known_labels() -> None:
    known = np.arange(1, 24, dtype=np.int64)
    batches = RowBatches(known, 5, 3, CPU)
    epochs = [list(batches.epoch(epoch, 0)) for epoch in (0, 0, 1)]
    for epoch in epochs:
        assert [len(batch.rows) for batch in epoch] == [5, 5, 5, 5, 3]
        assert sorted(torch.cat([batch.rows for batch in epoch]).tolist()) == list(range(23))
        assert [batch.known for batch in epoch] == [int(known[b.rows].sum()) for b in epoch]
    orders = [torch.cat([batch.rows for batch in epoch]).tolist() for epoch in epochs]
    assert orders[0] == orders[1] != orders[2]
    late = [batch.rows.tolist() for batch in batches.epoch(1, 3)]
    assert late == [batch.rows.tolist() for batch in epochs[2]][3:]


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_scaled_features_and_folded_weights_give_the_same_logits(offset: float) -> None:
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(5000, 3)) * (0.1, 1, 10) + offset
    scaling = Scaling.of(raw)
    scaled = scaling.apply(raw, CPU).double().numpy()
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-6)
    assert np.square(scaled).mean() == pytest.approx(1, rel=1e-6)
    weights, bias = rng.normal(size=(2, 3)), rng.normal(size=2)
    folded, intercept = scaling.fold(weights, bias)
    np.testing.assert_allclose(raw @ folded.T + intercept, scaled @ weights.T + bias, atol=1e-5)


def test_features_that_do_not_vary_keep_their_unit() -> None:
    assert Scaling.of(np.full((7, 2), 0.1)).unit == 1.0


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
@pytest.mark.parametrize("balanced", [False, True])
def test_the_starting_bias_has_no_gradient_in_train(kind: str, *, balanced: bool) -> None:
    rng = np.random.default_rng(1)
    known = rng.random((60, 3)) < 0.7
    positive = (rng.random((60, 3)) < (0.1, 0.4, 0.8)) & known
    if kind == "multiclass":
        positive = np.eye(3, dtype=np.bool_)[rng.choice(3, 60, p=(0.1, 0.3, 0.6))]
        known = np.ones_like(known)
    data = Labelled(np.zeros((60, 1), np.float32), positive, known)
    weight = balancing_weight(data, kind) if balanced else None
    bias = starting_bias(data, kind, weight).requires_grad_()
    if kind == "multiclass":
        rows = LabelledRows(
            torch.zeros(60, 1),
            torch.from_numpy(positive.argmax(axis=1)),
            torch.ones(60, dtype=torch.bool),
            weight,
        )
    else:
        targets = torch.from_numpy(positive.astype(np.float32))
        rows = LabelledRows(torch.zeros(60, 1), targets, torch.from_numpy(known), weight)
    loss = rows.loss(bias.expand(1, 60, 3), slice(None)).total.sum()
    (gradient,) = torch.autograd.grad(loss, bias)
    torch.testing.assert_close(gradient, torch.zeros(3), atol=1e-4, rtol=0)
