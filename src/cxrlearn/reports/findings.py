"""What a run shows and what it does not, in sentences, for every place where people read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxrlearn.evaluation.paired import PairedDifference
    from cxrlearn.evaluation.results import Estimate
    from cxrlearn.reports.schema import FloorReport, RunReport, SetReport

MISSING = "\N{EN DASH}"
"""What stands where there is no number; a footnote says why."""

DAGGER = "\N{DAGGER}"
"""What marks a set that the backbone may have seen."""


def estimate_text(estimate: Estimate) -> str:
    """Return `0.859 [0.840, 0.875]`, with a dash for what does not exist."""
    if estimate.value is None:
        return MISSING
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
        "NULL CONTROL: training labels were permuted by patient, so these numbers say nothing "
        f"about {report.backbone.name}. An AUROC that stays away from 0.5 over several --seed "
        "means that something leaks."
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


def resolvable_sentence(result: SetReport) -> str | None:
    """Say which differences this set could show at all; None where nothing was computed."""
    found = result.resolvable
    if found is None:
        return None
    if found.difference is None:
        return (
            f"Which differences between models {result.name} could show cannot be said: "
            f"{found.reason}."
        )
    against = "" if found.against is None else f" against {found.against}"
    return (
        f"{result.name} can tell two models apart from a difference of {found.difference:.3f} in "
        "macro AUROC on; a smaller one may well be chance (power 80 %: 2.80 standard errors of "
        f"the paired difference{against})."
    )


def floor_sentence(result: SetReport) -> str | None:
    """Say whether the model beats who was imaged and how; None without a floor."""
    floor = result.floor
    if floor is None:
        return None
    if floor.cleared:
        verdict = "clears the shortcut floor"
    else:
        verdict = "NOT SHOWN TO BEAT WHO WAS IMAGED AND HOW"
    return f"{result.name}: {verdict}: {_against_floor(floor)}."


def _against_floor(floor: FloorReport) -> str:
    difference = floor.difference
    columns = and_list(floor.columns)
    if difference.difference is None:
        return f"no difference from a probe that sees only {columns} ({difference.reason})"
    return (
        f"macro AUROC {_number(difference.macro_a)} against {_number(difference.macro_b)} by a "
        f"probe that sees only {columns}; difference {_difference_text(difference)}"
    )


def _difference_text(difference: PairedDifference) -> str:
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
        f"{result.name}: among images of equal {and_list(within.columns)} "
        f"({within.strata} combinations) the macro AUROC is {estimate_text(within.macro)}, over "
        f"{len(within.macro_labels)} labels; among all images it is "
        f"{estimate_text(result.evaluation.macro)}."
    )


def drop_sentence(result: SetReport) -> str | None:
    """Say how far the macro falls from the first test set; None for that one."""
    drop = result.drop
    if drop is None:
        return None
    if drop.difference is None:
        return f"{result.name} against {drop.internal}: no difference ({drop.reason})."
    missing = "" if drop.reason is None else f" ({drop.reason})"
    return (
        f"{result.name} against {drop.internal}: macro AUROC {drop.difference:+.3f} "
        f"{_limits(drop.low, drop.high, '+')} over the {len(drop.labels)} labels of both; "
        f"patients of the two sets are resampled apart{missing}."
    )


def before_findings(report: RunReport, result: SetReport) -> tuple[str, ...]:
    """Return what has to be read before the numbers of a set."""
    seen = seen_before(report, result.name)
    said = (None if seen is None else f"{DAGGER} {seen}", resolvable_sentence(result))
    return tuple(sentence for sentence in said if sentence is not None)


def after_findings(result: SetReport) -> tuple[str, ...]:
    """Return what its numbers show and do not show."""
    said = (floor_sentence(result), strata_sentence(result), drop_sentence(result))
    return tuple(sentence for sentence in said if sentence is not None)
