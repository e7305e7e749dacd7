"""Groups, rates and the schedule."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from cxrlearn.errors import UsageError
from cxrlearn.training.optim import (
    OptimizerConfig,
    build_optimizer,
    layer_scales,
    rate_factor,
    set_rates,
)


def _network() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2)
    )


def _settings(optimizer: torch.optim.Optimizer, parameter: torch.Tensor) -> dict[str, float]:
    (group,) = [
        group for group in optimizer.param_groups if any(p is parameter for p in group["params"])
    ]
    return {"rate": group["lr"], "decay": group["weight_decay"]}


def test_the_defaults_are_the_original_programs() -> None:
    optimizer = build_optimizer(_network().named_parameters(), OptimizerConfig())
    assert isinstance(optimizer, torch.optim.SGD)
    for group in optimizer.param_groups:
        assert (group["lr"], group["momentum"], group["weight_decay"]) == (1e-3, 0.9, 0.0)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_biases_and_norms_do_not_decay(name: str) -> None:
    network = _network()
    config = OptimizerConfig(name="adamw" if name == "adamw" else "sgd", weight_decay=0.05)
    optimizer = build_optimizer(network.named_parameters(), config)
    decays = {
        key: _settings(optimizer, parameter)["decay"]
        for key, parameter in network.named_parameters()
    }
    assert {key for key, decay in decays.items() if decay == 0.05} == {"0.weight", "2.weight"}
    assert {decay for key, decay in decays.items() if key not in {"0.weight", "2.weight"}} == {0.0}


def test_frozen_parameters_are_left_out_and_all_others_are_in_once() -> None:
    network = _network()
    for name, parameter in network.named_parameters():
        parameter.requires_grad = not name.startswith("0.")
    optimizer = build_optimizer(network.named_parameters(), OptimizerConfig())
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in network.parameters() if p.requires_grad)


def test_layers_near_the_image_learn_slower() -> None:
    network = _network()
    names = [name for name, _ in network.named_parameters()]
    scales = layer_scales(names, lambda name: int(name[0]), 0.5)
    optimizer = build_optimizer(network.named_parameters(), OptimizerConfig(lr=0.1), scales=scales)
    set_rates(optimizer, 0.2)
    rates = {
        name: _settings(optimizer, parameter)["rate"]
        for name, parameter in network.named_parameters()
    }
    assert rates["0.weight"] == pytest.approx(0.1 * 0.25 * 0.2)
    assert rates["1.bias"] == pytest.approx(0.1 * 0.5 * 0.2)
    assert rates["2.bias"] == pytest.approx(0.1 * 0.2)


def test_no_layer_decay_is_one_rate() -> None:
    assert set(layer_scales(["a", "b"], len, 1.0).values()) == {1.0}
    assert layer_scales([], len, 0.5) == {}


def test_cosine_falls_from_one_towards_zero_over_the_steps_after_the_warm_up() -> None:
    factors = [rate_factor("cosine", step, 110, 10) for step in range(110)]
    rise = factors[:11]
    assert rise == pytest.approx([(step + 1) / 11 for step in range(11)])
    assert factors[60] == pytest.approx(0.5)
    assert all(later < earlier for earlier, later in pairwise(factors[10:]))
    assert 0 < factors[-1] < 1e-3


def test_constant_stays_at_one_after_the_warm_up() -> None:
    assert [rate_factor("constant", step, 6, 2) for step in range(6)] == pytest.approx(
        [1 / 3, 2 / 3, 1, 1, 1, 1]
    )


def test_a_run_shorter_than_its_warm_up_only_rises() -> None:
    assert [rate_factor("cosine", step, 3, 5) for step in range(3)] == pytest.approx(
        [1 / 6, 2 / 6, 3 / 6]
    )


def test_all_problems_come_in_one_message() -> None:
    with pytest.raises(UsageError) as caught:
        OptimizerConfig(lr=float("nan"), momentum=1.0, weight_decay=-1.0, betas=(1.0, 0.9))
    for name in ("lr", "momentum", "weight_decay", "betas"):
        assert f"{name} must be" in str(caught.value)
