"""Which runs may be compared with which: only on equal images, labels and truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cxrlearn.reports.findings import and_list
from cxrlearn.runtime.words import counted
from cxrlearn.workflows.compare_runs import Run, RunSet, select_labels, select_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrlearn.reports.predictions import Predictions


@dataclass(frozen=True)
class Member:
    """One run on one data set."""

    run: Run
    """The run."""
    on: RunSet
    """Its set; rows and labels in the order of the first member's."""


@dataclass(frozen=True)
class Group:
    """The runs on one data set."""

    name: str
    """Of the set, as the first run names it."""
    members: tuple[Member, ...]
    """At least one."""
    restricted: bool = False
    """Rows were left out: what the runs report is of other rows."""

    @property
    def truth(self) -> Predictions:
        """Images, labels and truth of all members: those of the first."""
        return self.members[0].on.rows

    @property
    def patients(self) -> tuple[str | None, ...]:
        """Patients of the rows, from the first member that knows any."""
        known = (member.on.rows.patient_ids for member in self.members)
        return next((ids for ids in known if any(ids)), self.truth.patient_ids)


def group_sets(runs: Sequence[Run]) -> list[Group]:
    """Put test sets of equal images, labels and truth together, whatever their names."""
    groups: list[Group] = []
    for run in runs:
        for on in run.sets:
            place = next((i for i, group in enumerate(groups) if _fits(run, on, group)), None)
            if place is None:
                groups.append(Group(on.name, (Member(run, on),)))
            else:
                group = groups[place]
                rows = select_labels(on.rows, group.truth.names)
                added = Member(run, replace(on, rows=rows))
                groups[place] = replace(group, members=(*group.members, added))
    return groups


def _fits(run: Run, on: RunSet, group: Group) -> bool:
    return all(member.run is not run for member in group.members) and (
        _disagreement(group.truth, on.rows) is None
    )


def _disagreement(a: Predictions, b: Predictions) -> str | None:
    """Say how two sets differ; None where images, labels and truth are equal."""
    if set(a.names) != set(b.names):
        only_a, only_b = _only(a.names, b.names), _only(b.names, a.names)
        return f"their labels differ (only the former: {only_a}; only the latter: {only_b})"
    if a.image_ids != b.image_ids:
        counts = len(set(a.image_ids) - set(b.image_ids)), len(set(b.image_ids) - set(a.image_ids))
        first = min(set(a.image_ids) ^ set(b.image_ids))
        return (
            f"{counts[0]:,} of {counted(len(a.image_ids), 'image')} are only in the former and "
            f"{counts[1]:,} of {len(b.image_ids):,} only in the latter, such as {first}"
        )
    differs = ~_equal_truth(a, select_labels(b, a.names))
    if differs.any():
        first = a.image_ids[int(np.argmax(differs))]
        return f"the truth of {counted(int(differs.sum()), 'image')} differs, such as {first}"
    return None


def _only(names: Sequence[str], others: Sequence[str]) -> str:
    return ", ".join(name for name in names if name not in others) or "none"


def _equal_truth(a: Predictions, b: Predictions) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Compare truth row by row, (N,) bool; what is masked in both is equal."""
    same = (a.known == b.known) & ((a.values == b.values) | ~a.known)
    return np.asarray(same.all(axis=1))


def refusals(groups: Sequence[Group], *, common_rows: bool) -> list[str]:
    """Say which runs share the name of a set but not its rows, and so are not compared."""
    said = []
    by_name: dict[str, list[Group]] = {}
    for group in groups:
        by_name.setdefault(group.name, []).append(group)
    for name, (first, *others) in by_name.items():
        for other in others:
            why = _disagreement(first.truth, other.truth)
            offer = "" if common_rows else " --common-rows compares on the rows they share."
            if set(first.truth.names) != set(other.truth.names):
                offer = " To compare them, fit both with the same --class-columns."
            said.append(
                f"{name}: {_names(first)} and {_names(other)} are not compared: "
                f"{why or 'one run has the set twice'}.{offer}"
            )
    return said


def _names(group: Group) -> str:
    return and_list(tuple(member.run.about.name for member in group.members))


def share_rows(groups: Sequence[Group]) -> tuple[list[Group], list[str]]:
    """Restrict sets of one name and of equal labels to the rows that all their runs share.

    A row is shared where every run has the image with the same truth.

    Returns:
        The groups, and a sentence for each that lost rows.
    """
    shared: list[Group] = []
    for group in groups:
        place = next((i for i, one in enumerate(shared) if _may_share(one, group)), None)
        if place is None:
            shared.append(group)
            continue
        joined = _join(shared[place], group)
        if joined is None:
            shared.append(group)
        else:
            shared[place] = joined
    return shared, [_restriction(group, groups) for group in shared if group.restricted]


def _may_share(one: Group, other: Group) -> bool:
    runs = {member.run.about.name for member in one.members}
    return (
        one.name == other.name
        and set(one.truth.names) == set(other.truth.names)
        and not runs & {member.run.about.name for member in other.members}
    )


def _join(one: Group, other: Group) -> Group | None:
    """Put two groups together on their shared rows; None where they share none."""
    truth, rows = one.truth, select_labels(other.truth, one.truth.names)
    ids = sorted(set(truth.image_ids) & set(rows.image_ids))
    here = _places(truth, ids)
    there = _places(rows, ids)
    equal = _equal_truth(select_rows(truth, here), select_rows(rows, there))
    if not equal.any():
        return None
    members = [
        Member(
            member.run,
            replace(
                member.on,
                rows=select_rows(
                    select_labels(member.on.rows, truth.names),
                    [at for at, same in zip(places, equal, strict=True) if same],
                ),
            ),
        )
        for group, places in ((one, here), (other, there))
        for member in group.members
    ]
    return Group(one.name, tuple(members), restricted=True)


def _places(rows: Predictions, ids: Sequence[str]) -> list[int]:
    place = {image: i for i, image in enumerate(rows.image_ids)}
    return [place[image] for image in ids]


def _restriction(group: Group, before: Sequence[Group]) -> str:
    full = {
        member.run.about.name: len(one.truth.image_ids)
        for one in before
        if one.name == group.name
        for member in one.members
    }
    count = len(group.truth.image_ids)
    lost = [
        f"{full[name] - count:,} of {full[name]:,} rows of {name}"
        for name in (member.run.about.name for member in group.members)
    ]
    return (
        f"{group.name}: restricted to the {count:,} images that its {len(group.members)} runs "
        f"share with the same truth; left out: {and_list(tuple(lost))}. Numbers and intervals are "
        "computed anew on these."
    )


def patient_warnings(groups: Sequence[Group]) -> list[str]:
    """Say where runs disagree on who the patients are."""
    said = []
    for group in groups:
        odd = [
            member.run.about.name
            for member in group.members
            if member.on.rows.patient_ids != group.patients
        ]
        if odd:
            said.append(
                f"{group.name}: {and_list(tuple(odd))} names other patients, or none; the tests "
                "use those of the first run that names any."
            )
    return said
