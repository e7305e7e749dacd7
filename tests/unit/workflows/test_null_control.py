"""The null control: whole patients swap labels; what leaks shows, what does not is about 0.5."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cxrlearn.evaluation.metrics import auroc_score
from cxrlearn.runtime.events import SILENT
from cxrlearn.workflows.null_control import permute_labels
from cxrlearn.workflows.probe_fit import fit_probe
from tests.support.split_data import TASK, learnable, settings, split

if TYPE_CHECKING:
    from cxrlearn.workflows.probe_data import SplitData


def by_patient(data: SplitData) -> dict[str, list[tuple[int, ...]]]:
    """Return the labels of each patient's images in order of their ids, masked ones as -1."""
    found: dict[str, list[tuple[int, ...]]] = {}
    for row in np.argsort(np.array(data.image_ids)).tolist():
        cells = np.where(data.known[row], data.values[row], -1)
        found.setdefault(str(data.patients[row]), []).append(tuple(cells.tolist()))
    return found


def test_labels_move_as_whole_patients_and_images_stay() -> None:
    rng = np.random.default_rng(0)
    known = rng.random((60, 2)) < 0.8
    data = split(
        rng.normal(size=(60, 3)), rng.integers(0, 2, (60, 2)), known,
        patient_id=[f"P{row % 20}" for row in range(60)],
    )  # fmt: skip
    after = permute_labels({"train": data}, seed=0)["train"]
    assert after.features is data.features
    assert after.manifest is data.manifest
    assert Counter(map(tuple, by_patient(after).values())) == Counter(
        map(tuple, by_patient(data).values())
    )
    moved = sum(by_patient(after)[name] != cells for name, cells in by_patient(data).items())
    assert moved > 10


def test_a_patient_with_more_images_starts_over_at_the_first_of_the_other() -> None:
    patients = ["big"] * 5 + ["small"] * 2
    values = np.array([[1, 0]] * 5 + [[0, 0], [0, 1]])
    data = split(np.zeros((7, 2)), values, patient_id=patients)
    found = [permute_labels({"train": data}, seed=seed)["train"] for seed in range(8)]
    swapped = [by_patient(one) for one in found if by_patient(one) != by_patient(data)]
    assert swapped
    for labels in swapped:
        assert labels == {
            "big": [(0, 0), (0, 1), (0, 0), (0, 1), (0, 0)],
            "small": [(1, 0), (1, 0)],
        }


def test_the_order_of_rows_decides_nothing() -> None:
    data = learnable(30, images=2)
    shuffled = np.random.default_rng(1).permutation(60)
    one = permute_labels({"train": data}, seed=4)["train"]
    other = permute_labels({"train": data.select(shuffled)}, seed=4)["train"]
    assert np.array_equal(one.values[shuffled], other.values)


def test_images_without_a_patient_are_permuted_one_by_one() -> None:
    data = split(np.zeros((40, 1)), np.eye(2)[np.arange(40) % 2], patient_id=[None] * 40)
    after = permute_labels({"train": data}, seed=0)["train"]
    assert after.values.sum(axis=0).tolist() == [20, 20]
    assert not np.array_equal(after.values, data.values)


def test_test_sets_keep_their_labels() -> None:
    data = {
        "train": learnable(30),
        "val": learnable(20, name="val"),
        "test": learnable(20, name="t"),
    }
    after = permute_labels(data, seed=0)
    assert np.array_equal(after["test"].values, data["test"].values)
    for name in ("train", "val"):
        assert not np.array_equal(after[name].values, data[name].values)


def macro(data: dict[str, SplitData]) -> float:
    fitted = fit_probe(settings(), TASK, data["train"], data["val"], SILENT)
    test = data["test"]
    logits = fitted.decision(test.features)
    return float(np.mean([auroc_score(test.values[:, i], logits[:, i]) for i in range(2)]))


def test_nothing_is_left_to_learn_where_the_true_labels_are_learnable() -> None:
    sizes = {"train": 300, "val": 200, "test": 400}
    data = {
        name: learnable(size, name=name, seed=number)
        for number, (name, size) in enumerate(sizes.items())
    }
    assert macro(data) > 0.8
    found = [macro(permute_labels(data, seed=seed)) for seed in range(6)]
    # The macro of 400 rows has a standard error of about 0.02; the direction that permuted labels
    # happen to take adds to it for the two features that tell the truth.
    assert np.mean(found) == pytest.approx(0.5, abs=0.12)
    assert min(found) < 0.5 < max(found)


def test_a_patient_in_train_and_test_shows() -> None:
    # Every patient has features of one's own, and nothing in them has to do with the labels.
    rng = np.random.default_rng(0)
    patients = [f"P{row:03d}" for row in range(150)]
    person = rng.normal(size=(150, 200))
    truth = rng.integers(0, 2, (150, 2))

    def images(name: str, seed: int) -> SplitData:
        noise = 0.1 * np.random.default_rng(seed).normal(size=person.shape)
        names = patients if name != "val" else [f"V{row}" for row in range(150)]
        return split(person + noise, truth, name=name, patient_id=names)

    data = {name: images(name, seed) for seed, name in enumerate(("train", "val", "test"))}
    shared = permute_labels(data, seed=0)
    assert by_patient(shared["test"]) == by_patient(shared["train"])
    assert macro(shared) > 0.8
    # Under other names the same pictures cannot be told: that is what the hashes and the search for
    # near duplicates are for.
    test = data["test"]
    renamed = split(
        np.asarray(test.features), test.values, name="test",
        patient_id=[f"Q{row}" for row in range(150)],
    )  # fmt: skip
    assert macro(permute_labels({**data, "test": renamed}, seed=0)) == pytest.approx(0.5, abs=0.12)
