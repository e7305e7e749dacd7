"""A file fits completely, or it is refused with the reason."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from cxrlearn.backbones.fileforms import Concat, DropRule, FileForm
from cxrlearn.backbones.matching import UNNAMED, LoadAccount, fit_state
from cxrlearn.errors import WeightsError

EXPECTED = {
    "a.weight": torch.zeros(2, 3),
    "a.bias": torch.zeros(2),
    "bn.num_batches_tracked": torch.tensor(0),
}
GOOD: dict[str, Any] = {
    "a.weight": torch.arange(6.0).reshape(2, 3),
    "a.bias": torch.ones(2),
    "bn.num_batches_tracked": torch.tensor(5),
}
PLAIN = FileForm("plain", drop=(DropRule("^head", "classifier"),))


def fit(
    content: object, *forms: FileForm, expected: dict[str, torch.Tensor] | None = None
) -> tuple[dict[str, torch.Tensor], LoadAccount]:
    return fit_state(
        content, forms or (PLAIN,), expected or EXPECTED, what="x.pt", advice="Do this."
    )


def test_a_complete_file_is_taken_and_accounted_for() -> None:
    state, account = fit({**GOOD, "head.weight": torch.ones(1)})
    assert {key: value.tolist() for key, value in state.items()} == {
        "a.weight": [[0, 1, 2], [3, 4, 5]],
        "a.bias": [1, 1],
        "bn.num_batches_tracked": 5,
    }
    assert set(account.loaded) == set(GOOD)
    assert account.dropped == {"classifier": 1}
    assert account.form == "plain"
    assert account.problems == ()


def test_batch_counters_may_be_absent() -> None:
    state, account = fit({key: GOOD[key] for key in ("a.weight", "a.bias")})
    assert state["bn.num_batches_tracked"] == 0
    assert account.absent == ("bn.num_batches_tracked",)


@pytest.mark.parametrize("missing", ["a.weight", "a.bias"])
def test_one_missing_tensor_is_refused_by_name(missing: str) -> None:
    content = {key: value for key, value in GOOD.items() if key != missing}
    with pytest.raises(WeightsError, match=f"2 of 3 tensors fit; missing: {missing}.*Do this"):
        fit(content)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.zeros(3, 2), r"wrong shape, expected \[2, 3\], got \[3, 2\]"),
        (torch.zeros(2, 3, dtype=torch.int64), "wrong kind"),
        (torch.full((2, 3), math.nan), "NaN or infinity"),
        (torch.zeros(2, 3).to_sparse(), "no ordinary values"),
        (torch.zeros(2, 3, device="meta"), "no ordinary values"),
        ("text", "missing: a.weight"),
    ],
)
def test_one_wrong_tensor_is_refused_with_the_reason(value: object, said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        fit({**GOOD, "a.weight": value})


def test_a_larger_network_of_the_same_family_is_refused() -> None:
    """All tensors fit, but there are more: half of another network is not this one."""
    with pytest.raises(WeightsError, match=r"no part of this network: b\.weight"):
        fit({**GOOD, "b.weight": torch.ones(1)})


def test_nothing_that_fits_is_said_with_what_there_is() -> None:
    with pytest.raises(WeightsError, match=r"nothing in it fits.*'plain'.*2 entries \('p', 'q'\)"):
        fit({"p": torch.ones(1), "q": torch.ones(1)}, FileForm("plain", select="^a"))
    with pytest.raises(WeightsError, match="holds a list"):
        fit([1, 2])


def test_the_first_complete_form_is_taken() -> None:
    prefixed = FileForm("prefixed", select=r"^m\.", rename=((r"^m\.", ""),))
    state, account = fit({f"m.{key}": value for key, value in GOOD.items()}, PLAIN, prefixed)
    assert account.form == "prefixed"
    assert torch.equal(state["a.bias"], torch.ones(2))


def test_groups_are_followed_and_what_lies_beside_is_accounted_for() -> None:
    form = FileForm("grouped", group=("net", "w"), drop=(DropRule("^epoch$", "training"),))
    _, account = fit({"net": {"w": GOOD}, "epoch": 3, "other": {}}, form)
    assert account.dropped == {"training": 1, UNNAMED: 1}
    assert account.problems == (f"dropped though {UNNAMED}: other",)
    with pytest.raises(WeightsError):
        fit({"net": [1]}, form)


def test_pieces_are_joined_in_order() -> None:
    form = FileForm("parts", concat=(Concat((".q.", ".k."), ".qk."),))
    expected = {"l.qk.weight": torch.zeros(3, 2)}
    parts = {"l.k.weight": torch.full((1, 2), 9.0), "l.q.weight": torch.ones(2, 2)}
    state, account = fit(parts, form, expected=expected)
    assert state["l.qk.weight"].tolist() == [[1, 1], [1, 1], [9, 9]]
    assert set(account.loaded) == set(parts)


def test_a_missing_or_misshapen_piece_is_refused() -> None:
    form = FileForm("parts", concat=(Concat((".q.", ".k."), ".qk."),))
    expected = {"l.qk.weight": torch.zeros(3, 2), "b": torch.zeros(1)}
    rest = {"b": torch.zeros(1)}
    with pytest.raises(WeightsError, match=r"l\.k\.weight is missing"):
        fit({**rest, "l.q.weight": torch.ones(2, 2)}, form, expected=expected)
    with pytest.raises(WeightsError, match="wrong shape"):
        fit(
            {**rest, "l.q.weight": torch.ones(2, 2), "l.k.weight": torch.ones(1, 5)},
            form,
            expected=expected,
        )


def test_reshape_adds_dimensions_of_one_and_nothing_else() -> None:
    form = FileForm("flat", reshape=(("t", (1, 1, 6)),))
    expected = {"t": torch.zeros(1, 1, 6)}
    state, _ = fit({"t": torch.arange(6.0)}, form, expected=expected)
    assert state["t"].shape == (1, 1, 6)
    with pytest.raises(WeightsError, match="wrong shape"):
        fit({"t": torch.arange(6.0).reshape(2, 3), "u": 1}, form, expected={**expected, **EXPECTED})


def test_two_keys_for_one_tensor_are_refused() -> None:
    form = FileForm("prefixes", rename=((r"^[xy]\.", ""),))
    content = {**{f"x.{key}": value for key, value in GOOD.items()}, "y.a.bias": torch.ones(2)}
    with pytest.raises(WeightsError, match=r"both x\.a\.bias and y\.a\.bias"):
        fit(content, form)


def test_halves_become_floats_and_share_no_memory() -> None:
    half = GOOD["a.weight"].to(torch.float16)
    state, _ = fit({**GOOD, "a.weight": half})
    assert state["a.weight"].dtype == torch.float32
    state["a.bias"][0] = 42
    assert GOOD["a.bias"][0] == 1


def test_strided_tensors_are_laid_out_afresh() -> None:
    state, _ = fit({**GOOD, "a.weight": GOOD["a.weight"].t().contiguous().t()})
    assert state["a.weight"].is_contiguous()
    assert torch.equal(state["a.weight"], GOOD["a.weight"])


def test_many_names_are_cut_to_three() -> None:
    expected = {**EXPECTED, **{f"c{i}": torch.zeros(1) for i in range(9)}}
    with pytest.raises(WeightsError, match="missing: c0, c1, c2 and 6 more"):
        fit(GOOD, expected=expected)
