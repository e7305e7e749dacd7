"""What a run shows and what it does not, in sentences, for every place where people read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrlearn.runtime.words import agreeing, counted

if TYPE_CHECKING:
    from cxrlearn.evaluation.results import Difference, Estimate
    from cxrlearn.reports.schema import FloorReport, RunReport, SetReport

MISSING = "\N{EN DASH}"
"""What stands where there is no number; a footnote says why."""

DAGGER = "\N{DAGGER}"
"""What marks a set that the backbone may have seen."""


def estimate_text(estimate: Estimate) -> str:
    """Return `0.859 [0.840, 0.875]`, with a dash for what does not exist."""
    if estimate.value is None:
        return MISSING
    if estimate.low is None and estimate.reason is None:  # a number that never has an interval
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} {_limits(estimate.low, estimate.high)}"


def _limits(low: float | None, high: float | None, sign: str = "") -> str:
    if low is None or high is None:
        return f"[{MISSING}]"
    return f"[{low:{sign}.3f}, {high:{sign}.3f}]"


def and_list(names: tuple[str, ...]) -> str:
    """Return `age, sex and view`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def null_sentences(report: RunReport) -> tuple[str, ...]:
    """Say loudly that training labels were permuted, and what that showed; empty if not so."""
    if not report.null_control:
        return ()
    said = [
        "LABEL-PERMUTATION CONTROL: training labels were permuted by patient, so these numbers "
        f"say nothing about {report.backbone.name}. One permutation scatters about 0.5; an AUROC "
        "that stays on one side of it over several --seed points to a leak."
    ]
    for result in report.results:
        macro = result.evaluation.macro
        if macro.low is None or macro.high is None:
            verdict = "there is no interval to judge by"
        elif macro.low <= 0.5 <= macro.high:
            verdict = "the interval holds 0.5, as it should"
        else:
            verdict = (
                "THE INTERVAL DOES NOT HOLD 0.5. One permutation scatters more than this interval "
                "says, on large sets above all: repeat with other --seed, and if they agree, look "
                "for a leak"
            )
        said.append(f"{result.name}: macro AUROC {estimate_text(macro)}: {verdict}.")
    return tuple(said)


def seen_before(report: RunReport, name: str) -> str | None:
    """Say that the backbone may have seen this split in pretraining; None where nothing is known.

    Such a set is marked in every table.
    """
    for one in report.pretraining:
        if one.split == name and one.datasets:
            return f"{name}: {one.sentence}"
    return None


def shown_name(report: RunReport, name: str) -> str:
    """Return the name of a set as tables show it: with a dagger where `seen_before` speaks."""
    return name if seen_before(report, name) is None else f"{name} {DAGGER}"


def detectable_sentence(result: SetReport) -> str | None:
    """Say the minimum detectable difference of this set; None where nothing was computed."""
    found = result.detectable
    if found is None:
        return None
    if found.difference is None:
        return f"{result.name}: no minimum detectable difference: {found.reason}."
    return (
        f"{result.name}: minimum detectable difference {found.difference:.3f}: a true difference "
        "of this size in macro AUROC from the metadata baseline is found with 80 % power (2.80 "
        "standard errors). Similar backbones usually need less; `cxrlearn compare` gives each "
        "pair's own. An observed difference is judged by its own interval."
    )


def floor_sentence(result: SetReport) -> str | None:
    """Say whether the model exceeds the metadata baseline; None without one."""
    floor = result.floor
    if floor is None:
        return None
    verdict = "does not exceed the metadata baseline"
    if floor.exceeds is None:
        verdict = f"no verdict against the metadata baseline ({floor.no_verdict})"
    elif floor.exceeds:
        verdict = "exceeds the metadata baseline"
    return f"{result.name}: {verdict}: {_against_floor(floor)}."


def _against_floor(floor: FloorReport) -> str:
    difference = floor.difference
    columns = and_list(floor.columns)
    if difference.difference is None:
        return f"no difference from a probe that uses only {columns} ({difference.reason})"
    return (
        f"macro AUROC {_number(difference.first)} against {_number(difference.second)} by a "
        f"probe that uses only {columns}; difference {_difference_text(difference)}"
    )


def _difference_text(difference: Difference) -> str:
    if difference.difference is None:
        return MISSING
    return f"{difference.difference:+.3f} {_limits(difference.low, difference.high, '+')}"


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3f}"


def strata_sentence(result: SetReport) -> str | None:
    """Say what is left when only like images are compared; None without such columns."""
    within = result.within_strata
    if within is None:
        return None
    return (
        f"{result.name}: among {result.row}s of equal {and_list(within.columns)} "
        f"({within.strata} combinations) the macro AUROC is {estimate_text(within.macro)}, over "
        f"{counted(len(within.macro_labels), 'label')}; among all {result.row}s it is "
        f"{estimate_text(result.evaluation.macro)}."
    )


def drop_sentence(result: SetReport) -> str | None:
    """Say how far the macro differs from the first test set; None for that one."""
    drop = result.drop
    if drop is None:
        return None
    found = drop.difference
    if found.difference is None:
        return f"{result.name} minus {drop.internal}: no difference ({found.reason})."
    missing = "" if found.reason is None else f" ({found.reason})"
    shared = ""
    if drop.shared_patients:
        many = drop.shared_patients
        who = f"{counted(many, 'patient')} {agreeing(many, 'is', 'are')}"
        shared = f"; {who} in both sets, which the interval accounts for"
    return (
        f"{result.name} minus {drop.internal}: macro AUROC {_difference_text(found)} over "
        f"{counted(len(found.labels), 'label')} with both classes in both sets{shared}{missing}."
    )


def before_findings(report: RunReport, result: SetReport) -> tuple[str, ...]:
    """Return what has to be read before the numbers of a set."""
    seen = seen_before(report, result.name)
    said = (None if seen is None else f"{DAGGER} {seen}", detectable_sentence(result))
    return tuple(sentence for sentence in said if sentence is not None)


def after_findings(result: SetReport) -> tuple[str, ...]:
    """Return what its numbers show and do not show."""
    said = (floor_sentence(result), strata_sentence(result), drop_sentence(result))
    return tuple(sentence for sentence in said if sentence is not None)
