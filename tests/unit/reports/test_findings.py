"""What a run shows and does not show, in words that a reader cannot take for more."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cxrlearn.evaluation.results import Estimate
from cxrlearn.reports.findings import (
    after_findings,
    before_findings,
    detectable_sentence,
    drop_sentence,
    estimate_text,
    floor_sentence,
    null_sentences,
)
from cxrlearn.reports.schema import DetectableReport
from tests.support.run_reports import (
    estimate,
    full_report,
    sample_drop,
    sample_floor,
    sample_predictions,
    sample_report,
)

if TYPE_CHECKING:
    from cxrlearn.reports.schema import RunReport, SetReport


@pytest.fixture(scope="module")
def report() -> RunReport:
    return full_report({"test": sample_predictions()})


@pytest.fixture(scope="module")
def result(report: RunReport) -> SetReport:
    return report.results[0]


def test_interval_above_zero_exceeds_the_baseline(result: SetReport) -> None:
    assert floor_sentence(result) == (
        "test: exceeds the metadata baseline: macro AUROC 0.710 against 0.600 by a probe that uses "
        "only age, sex and view; difference +0.110 [+0.021, +0.199]."
    )


def test_interval_that_holds_zero_does_not_exceed_the_baseline(result: SetReport) -> None:
    changed = replace(result, floor=sample_floor(result.evaluation, low=-0.004))
    said = floor_sentence(changed)
    assert said is not None
    assert said.startswith("test: does not exceed the metadata baseline: ")
    assert said.endswith("difference +0.110 [-0.004, +0.199].")


def test_few_positive_patients_give_no_verdict_whatever_the_interval(result: SetReport) -> None:
    few = "only 6 positive patients; a verdict needs 10"
    floor = replace(sample_floor(result.evaluation), exceeds=None, no_verdict=few)
    said = floor_sentence(replace(result, floor=floor))
    assert said is not None
    assert said.startswith(f"test: no verdict against the metadata baseline ({few}): macro AUROC")


def test_baseline_without_a_difference_says_why(result: SetReport) -> None:
    floor = sample_floor(result.evaluation, low=-1)
    gone = replace(floor.difference, difference=None, low=None, high=None, reason="no label left")
    none = replace(floor, difference=gone, exceeds=None, no_verdict="no label left")
    assert floor_sentence(replace(result, floor=none)) == (
        "test: no verdict against the metadata baseline (no label left): no difference from a "
        "probe that uses only age, sex and view (no label left)."
    )


def test_a_detectable_difference_is_never_said_to_judge_an_observed_one(result: SetReport) -> None:
    said = detectable_sentence(result)
    assert said is not None
    assert said.startswith("test: minimum detectable difference 0.023: a true difference")
    assert "80 % power" in said
    assert said.endswith("An observed difference is judged by its own interval.")
    assert "chance" not in said


def test_what_cannot_be_detected_says_why(result: SetReport) -> None:
    changed = replace(result, detectable=DetectableReport(None, None, "one patient only"))
    assert detectable_sentence(changed) == (
        "test: no minimum detectable difference: one patient only."
    )


def test_drop_names_both_sets_its_limits_and_shared_patients(result: SetReport) -> None:
    drop = sample_drop("test")
    changed = replace(result, name="other hospital", drop=drop)
    said = "other hospital minus test: macro AUROC -0.043 [-0.071, -0.012] over 2 labels with both "
    assert drop_sentence(changed) == f"{said}classes in both sets."
    shared = replace(changed, drop=replace(drop, shared_patients=1))
    assert drop_sentence(shared) == (
        f"{said}classes in both sets; 1 patient is in both sets, which the interval accounts for."
    )
    gone = replace(drop.difference, difference=None, labels=(), reason="no label in both")
    none = replace(changed, drop=replace(drop, difference=gone))
    assert drop_sentence(none) == "other hospital minus test: no difference (no label in both)."


def test_nothing_is_said_of_what_a_run_does_not_have() -> None:
    plain = sample_report({"test": sample_predictions()})
    assert before_findings(plain, plain.results[0]) == ()
    assert after_findings(plain.results[0]) == ()
    assert null_sentences(plain) == ()


@pytest.mark.parametrize(
    ("macro", "verdict"),
    [
        (estimate(0.52), "the interval holds 0.5, as it should."),
        (estimate(0.6), "if they agree, look for a leak."),
        (Estimate(0.6, None, None, "one patient", ()), "there is no interval to judge by."),
    ],
)
def test_null_control_is_judged_by_its_interval(
    report: RunReport, macro: Estimate, verdict: str
) -> None:
    first = report.results[0]
    changed = replace(first, evaluation=replace(first.evaluation, macro=macro))
    said = null_sentences(replace(report, results=(changed,), null_control=True))
    assert said[0].startswith("LABEL-PERMUTATION CONTROL")
    assert said[1].startswith(f"test: macro AUROC {estimate_text(macro)}: ")
    assert said[1].endswith(verdict)
