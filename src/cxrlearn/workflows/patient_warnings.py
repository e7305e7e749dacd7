"""What is wrong with the patients of a study, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrlearn.data.columns import OFF
from cxrlearn.data.patients import (
    counted_ids,
    crowded,
    nameless,
    other_spellings,
)
from cxrlearn.data.splits import FRACTIONS, SETS, patient_overlap
from cxrlearn.runtime.words import agreeing, counted
from cxrlearn.workflows.sharing import consequence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cxrlearn.data.manifest import Manifest
    from cxrlearn.workflows.datasets import ImageSets
    from cxrlearn.workflows.study_settings import StudySettings

MOST_OFF = 0.05
"""How far the share of a drawn set may be from what was asked for, as a share of all images."""


def patient_warnings(manifest: Manifest, config: StudySettings) -> Iterator[str]:
    """Warn of unknown patients, and of ids that look like many patients."""
    file, column = manifest.file, manifest.columns.patient
    if column is None:
        if config.patient_column != OFF:
            yield (
                f"{file} has no patient column, so every image counts as a patient of its own and "
                "intervals may be too narrow: name it with --patient-column, or say "
                "--patient-column none."
            )
        return
    unknown = nameless(manifest)
    if unknown:
        yield (
            f"{file}, column {column!r}: {counted(unknown.total(), 'row')} without a patient id "
            f"({counted_ids(unknown)}); each counts as a patient of its own."
        )
    for patient, count in crowded(manifest.patients).items():
        yield (
            f"{file}, column {column!r}: {patient!r} has {count:,} of {len(manifest):,} rows, far "
            "more than the others. If it says that the patient is unknown, leave these cells "
            "blank; as it is, they are one patient."
        )


def shares_warnings(sets: ImageSets) -> Iterator[str]:
    """Warn of a drawn split whose parts are far from the sizes asked for."""
    parts = sets.named()
    total = sum(map(len, parts.values()))
    sizes = {name: len(parts.get(name, ())) for name in SETS}
    off = [abs(sizes[name] - share * total) for name, share in zip(SETS, FRACTIONS, strict=True)]
    if max(off) <= max(2, MOST_OFF * total):
        return
    rows: dict[str, int] = {}
    for manifest in parts.values():
        for patient in manifest.patients:
            if patient is not None:
                rows[patient] = rows.get(patient, 0) + 1
    found = ", ".join(f"{name} {100 * size / total:.0f} %" for name, size in sizes.items())
    biggest = max(rows, key=lambda patient: rows[patient], default=None)
    why = (
        ""
        if biggest is None
        else f": patients stay together, and {biggest!r} has {rows[biggest]:,} of {total:,} images"
    )
    yield f"the drawn split is far from 70/10/20 ({found} of the images){why}."


def shared_patients(sets: Mapping[str, Manifest]) -> Iterator[tuple[str, str, str]]:
    """Return what is shared, as the beginning of a sentence, and the two sets of each overlap."""
    for overlap in patient_overlap(sets):
        who = f"{counted(overlap.patients, 'patient')} {agreeing(overlap.patients, 'is', 'are')}"
        examples = ", ".join(overlap.examples)
        what = f"{who} both in {overlap.a} and in {overlap.b} (such as {examples})"
        yield what, overlap.a, overlap.b


def spelling_warnings(sets: Mapping[str, Manifest]) -> Iterator[tuple[str, str, str]]:
    """Warn of patients who may have two spellings of one id; with the two sets, or one twice."""
    for same in other_spellings(sets):
        first, second = same.example
        if same.a == same.b:
            yield (
                f"{counted(same.patients, 'patient id')} of {same.a} may be written in two ways "
                f"(such as {first!r} and {second!r}): ids are text, so these are two patients. "
                "Give each patient one spelling.",
                same.a,
                same.b,
            )
        else:
            yield (
                f"{counted(same.patients, 'patient id')} of {same.a} may be written otherwise in "
                f"{same.b} (such as {first!r} and {second!r}): ids are text, so these are "
                f"different patients. If they are the same: {consequence(same.a, same.b)} "
                "Give each patient one spelling.",
                same.a,
                same.b,
            )
