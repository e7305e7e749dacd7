"""The shortcut floor: how cells become numbers, which columns it takes, and what clears it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from cxrlearn.errors import DataError
from cxrlearn.evaluation.metrics import auroc_score
from cxrlearn.workflows.probe_evaluate import evaluate_set, score_split
from cxrlearn.workflows.shortcut_floor import ShortcutFloor, fit_floor, floor_columns
from tests.support.split_data import TASK, manifest, settings, split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrlearn.reports.schema import FloorReport
    from cxrlearn.workflows.probe_data import SplitData

COUNT = 400
BOTH = {"age": ["50"] * 2, "sex": ["M", "F"]}


def study(
    name: str = "train", *, seed: int = 0, words: str = "MF", **more: Sequence[str]
) -> SplitData:
    """Return rows whose label A follows age, and label B sex; features tell a bit of each label."""
    rng = np.random.default_rng(seed)
    age, sex = rng.integers(20, 90, COUNT), rng.integers(0, 2, COUNT)
    values = np.stack(
        [age + rng.normal(0, 15, COUNT) > 55, sex ^ (rng.random(COUNT) < 0.2)], axis=1
    )
    return split(
        values + 0.7 * rng.normal(size=(COUNT, 2)), values, name=name,
        patient_id=[f"{name}{row // 2}" for row in range(COUNT)],
        age=[str(years) for years in age], sex=[words[one] for one in sex], **more,
    )  # fmt: skip


def fitted(data: SplitData, *columns: str) -> ShortcutFloor:
    floor = fit_floor(columns, TASK, data, None)
    assert floor is not None
    return floor


def scores(floor: ShortcutFloor, **columns: Sequence[str | None]) -> list[list[float]]:
    found: list[list[float]] = floor.decision(manifest("test", **columns)).tolist()
    return found


def test_it_learns_what_age_and_sex_tell() -> None:
    floor, test = fitted(study(), "age", "sex"), study("test", seed=1)
    logits = floor.decision(test.manifest)
    assert auroc_score(test.values[:, 0], logits[:, 0]) > 0.85
    assert auroc_score(test.values[:, 1], logits[:, 1]) > 0.75
    alone = fitted(study(), "sex").decision(test.manifest)
    assert auroc_score(test.values[:, 0], alone[:, 0]) == pytest.approx(0.5, abs=0.1)


def test_ages_are_read_however_they_are_written() -> None:
    floor = fitted(study(), "age")
    plain, padded, months, plus = scores(floor, age=["63", "063Y", "756M", "63+"])
    assert plain == padded == plus
    assert months == pytest.approx(plain)
    assert scores(floor, age=["80"])[0][0] > plain[0] > scores(floor, age=["20"])[0][0]


def test_what_is_no_age_is_missing_and_not_a_category() -> None:
    floor = fitted(study(), "age")
    blank, mistaken, nonsense = scores(floor, age=[None, "411", "old"])
    assert blank == mistaken == nonsense
    # Missing ages may tell something of their own in train.
    train = study(seed=3)
    ages = [
        None if truth else age
        for truth, age in zip(train.values[:, 1], train.manifest.column("age"), strict=True)
    ]
    told = fitted(split(np.zeros((COUNT, 1)), train.values, age=ages), "age")
    missing, there = scores(told, age=[None, "50"])
    assert missing[1] > there[1] + 2


def test_few_different_ages_are_numbers_all_the_same() -> None:
    values = np.array([[0, 0]] * 50 + [[1, 1]] * 50)
    floor = fitted(split(np.zeros((100, 1)), values, age=["030Y"] * 50 + ["070Y"] * 50), "age")
    low, middle, high = scores(floor, age=["30", "50", "70"])
    assert low[0] < middle[0] < high[0]


def test_a_column_of_no_ages_tells_nothing() -> None:
    train = study(seed=1)
    nonsense = ["old" if truth else "young" for truth in train.values[:, 0]]
    data = split(np.zeros((COUNT, 1)), train.values, age=nonsense)
    assert fit_floor(("age",), TASK, data, None) is None


@pytest.mark.parametrize("cells", [[None] * COUNT, ["nan"] * COUNT, ["1e999"] * COUNT])
def test_a_column_without_a_value_or_of_one_tells_nothing(cells: list[str | None]) -> None:
    values = study().values
    floor = fit_floor(("score",), TASK, split(np.zeros((COUNT, 1)), values, score=cells), None)
    if floor is not None:
        logits = floor.decision(manifest("test", score=["7", "nan", "x", *cells[:3]]))
        assert np.isfinite(logits).all()


def test_unknown_categories_and_blanks_count_alike_and_case_does_not_count() -> None:
    floor = fitted(study(words="MF"), "sex")
    male, upper, blank, unknown = scores(floor, sex=["m", "M", None, "X"])
    female = scores(floor, sex=["F"])[0]
    assert male == upper
    assert blank == unknown
    assert male[1] < blank[1] < female[1]


def test_numbers_far_from_any_of_train_stay_finite() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2, (COUNT, 2))
    data = split(np.zeros((COUNT, 1)), values, dose=[f"{1 + 1e-9 * row}" for row in range(COUNT)])
    floor = fitted(data, "dose")
    cells = ["1e30", "-1e30", "1e300", "inf", "nan", None, "1"]
    assert np.isfinite(scores(floor, dose=cells)).all()


def test_many_categories_are_the_twenty_most_frequent() -> None:
    values = np.random.default_rng(0).integers(0, 2, (600, 2))
    rooms = [f"room {min(row % 30, 25)}" for row in range(600)]
    floor = fitted(split(np.zeros((600, 1)), values, room=rooms), "room")
    assert floor.fit.weights.shape == (2, 20)


# ---- which columns -------------------------------------------------------------------------------


def test_age_sex_and_view_are_taken_where_all_sets_have_them() -> None:
    train = manifest(age=["1"], sex=["M"], view=["PA"], site=["a"])
    assert floor_columns(settings(), train, [manifest("test", **BOTH)]) == ("age", "sex")
    assert floor_columns(settings(), train, [manifest("test", site=["a"])]) == ()
    assert floor_columns(settings(floor_columns=("none",)), train, [train]) == ()
    assert floor_columns(settings(floor_columns=("site",)), train, [train]) == ("site",)


def test_a_column_of_another_name_is_known_by_the_part_it_plays() -> None:
    data = study()
    far = {"Patient Age": ["63", "20"], "Gender": ["F", "M"]}
    assert floor_columns(settings(), data.manifest, [manifest("far", **far)]) == ("age", "sex")
    floor = fitted(data, "age", "sex")
    assert scores(floor, **far) == scores(floor, age=["63", "20"], sex=["F", "M"])


@pytest.mark.parametrize("where", ["train", "test"])
def test_a_column_that_was_asked_for_has_to_be_there(where: str) -> None:
    sets = {name: manifest(name, **BOTH, site=["a", "b"]) for name in ("train", "test")}
    sets[where] = manifest(where, **BOTH)
    message = rf"{where}\.csv has no column 'site' .*--floor-columns\)\. Columns: Path, age, sex"
    with pytest.raises(DataError, match=message):
        floor_columns(settings(floor_columns=("age", "site")), sets["train"], [sets["test"]])


def test_no_columns_or_no_label_to_fit_is_no_floor() -> None:
    data = study()
    assert fit_floor((), TASK, data, None) is None
    one_class = data.with_labels(np.zeros_like(data.values), data.known)
    assert fit_floor(("age",), TASK, one_class, None) is None


def test_validation_chooses_its_penalty() -> None:
    floor = fit_floor(("age", "sex"), TASK, study(), study("val", seed=7))
    assert floor is not None
    assert {label.C for label in floor.fit.labels} != {1.0}
    assert all(label.gap is not None and label.gap <= 1e-6 for label in floor.fit.labels)


# ---- what clears it ------------------------------------------------------------------------------


def report(logits: np.ndarray, test: SplitData, floor: ShortcutFloor) -> FloorReport:
    config = settings()
    result = evaluate_set(
        "multilabel", "test", score_split(config, TASK, test, logits, floor),
        not_scored={}, thresholds=None, floor=floor,
    )  # fmt: skip
    assert result.floor is not None
    assert result.detectable is not None
    return result.floor


def test_a_model_equal_to_the_floor_does_not_clear_it() -> None:
    floor, test = fitted(study(), "age", "sex"), study("test", seed=1)
    found = report(floor.decision(test.manifest), test, floor)
    assert found.difference.difference == 0
    assert found.exceeds is None
    assert found.no_verdict == "no test: the difference never varies"
    assert found.columns == ("age", "sex")


def test_a_model_below_the_floor_or_of_noise_beside_it_does_not_clear_it() -> None:
    floor, test = fitted(study(), "age", "sex"), study("test", seed=1)
    assert report(np.zeros((COUNT, 2)), test, floor).exceeds is False
    noise = 0.3 * np.random.default_rng(0).normal(size=(COUNT, 2))
    assert report(floor.decision(test.manifest) + noise, test, floor).exceeds is False


def test_a_model_that_adds_signal_clears_it() -> None:
    floor, test = fitted(study(), "age", "sex"), study("test", seed=1)
    found = report(floor.decision(test.manifest) + 2 * np.asarray(test.features), test, floor)
    assert found.exceeds
    assert found.difference.low is not None
    assert found.difference.low > 0
    assert found.macro.value == pytest.approx(found.difference.second)
