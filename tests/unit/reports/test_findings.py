"""What a run shows and does not show, in words that a reader cannot take for more."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cxrlearn.evaluation.results import Estimate
from cxrlearn.reports.findings import (
    after_findings,
    before_findings,
    drop_sentence,
    estimate_text,
    floor_sentence,
    null_sentences,
    resolvable_sentence,
)
from cxrlearn.reports.schema import ResolvableReport
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


def test_interval_above_zero_clears_the_floor(result: SetReport) -> None:
    assert floor_sentence(result) == (
        "test: clears the shortcut floor: macro AUROC 0.710 against 0.600 by a probe that sees "
        "only age, sex and view; difference +0.110 [+0.021, +0.199]."
    )


def test_interval_that_holds_zero_is_not_shown_to_beat_who_was_imaged(result: SetReport) -> None:
    changed = replace(result, floor=sample_floor(result.evaluation, low=-0.004))
    said = floor_sentence(changed)
    assert said is not None
    assert said.startswith("test: NOT SHOWN TO BEAT WHO WAS IMAGED AND HOW: ")
    assert said.endswith("difference +0.110 [-0.004, +0.199].")


def test_floor_without_a_difference_says_why(result: SetReport) -> None:
    floor = sample_floor(result.evaluation, low=-1)
    gone = replace(floor.difference, difference=None, low=None, high=None, reason="no label left")
    said = floor_sentence(replace(result, floor=replace(floor, difference=gone)))
    assert said == (
        "test: NOT SHOWN TO BEAT WHO WAS IMAGED AND HOW: no difference from a probe that sees only "
        "age, sex and view (no label left)."
    )


def test_what_cannot_be_resolved_says_why(result: SetReport) -> None:
    changed = replace(result, resolvable=ResolvableReport(None, None, None, "one patient only"))
    assert resolvable_sentence(changed) == (
        "Which differences between models test could show cannot be said: one patient only."
    )


def test_drop_names_both_sets_and_its_limits(result: SetReport) -> None:
    changed = replace(result, name="other hospital", drop=sample_drop("test"))
    assert drop_sentence(changed) == (
        "other hospital against test: macro AUROC -0.043 [-0.071, -0.012] over the 2 labels of "
        "both; patients of the two sets are resampled apart."
    )
    gone = replace(sample_drop("test"), difference=None, labels=(), reason="no label in both")
    said = drop_sentence(replace(changed, drop=gone))
    assert said == "other hospital against test: no difference (no label in both)."


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
        (Estimate(0.6, None, None, "one patient", 0, ()), "there is no interval to judge by."),
    ],
)
def test_null_control_is_judged_by_its_interval(
    report: RunReport, macro: Estimate, verdict: str
) -> None:
    first = report.results[0]
    changed = replace(first, evaluation=replace(first.evaluation, macro=macro))
    said = null_sentences(replace(report, results=(changed,), null_control=True))
    assert said[0].startswith("NULL CONTROL")
    assert said[1].startswith(f"test: macro AUROC {estimate_text(macro)}: ")
    assert said[1].endswith(verdict)
