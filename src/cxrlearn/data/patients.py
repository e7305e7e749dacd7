"""Who was imaged: ids that name nobody, ids in paths, and one id in several spellings."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

from cxrlearn.data.placeholders import is_placeholder
from cxrlearn.runtime.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cxrlearn.data.manifest import Manifest

NOBODY = frozenset(
    {"anonymous", "anonymized", "anonymised", "anon", "anonym", "deidentified", "de-identified",
     "removed", "redacted", "hidden", "no id", "noid", "no name", "patient", "test", "dummy", "x",
     "xx", "xxx", "xxxx", "error", "-1"}
)  # fmt: skip
"""Words that are the id of no patient, besides `placeholders.PLACEHOLDERS`; any case."""

FROM_PATH = "patient (from the path)"
"""Name of the column that is made where ids are only in the paths."""

# With a sign or a decimal mark: an id such as 5e10 may be a hexadecimal number.
_SCIENTIFIC = re.compile(r"[0-9](?:[.,][0-9]+e\+?|e\+)[0-9]{1,3}|##+", re.IGNORECASE)
_NUMBER = re.compile(r"(?:patient|subject|subj?|pat|pt|p|id)?[-_]?([0-9]+)(?:[.,]0*)?")
_IN_PATHS = (
    # CheXpert patient00027/study1/, BIDS sub-01/, and folders or names that say so likewise.
    re.compile(
        r"(?:^|/)((?:patient|subject|subj|sub|pat|pt)[-_ ]?[0-9]+)(?=[/_.-])", re.IGNORECASE
    ),
    re.compile(r"(?:^|/)(p[0-9]{8})/"),  # MIMIC-CXR: p10/p10000032/s50414267/
    re.compile(r"(?:^|/)([0-9]{8})_[0-9]{3}\.[A-Za-z]+$"),  # NIH ChestX-ray14: 00000013_026.png
)

MANY_ROWS, MANY_TIMES, MANY_SHARE, MOST_ROWS = 10, 5, 0.05, 500
"""An id is suspicious with at least 10 rows, 5 times the average of the other ids and 5 % of all
rows; or with more than 500 rows, whatever the others have."""


def names_nobody(patient: str) -> bool:
    """Tell whether an id says that the patient is not known.

    Numbers that a spreadsheet has rounded (1.2E+11) are no ids either: many patients share one.

    Example:
        >>> [names_nobody(patient) for patient in ("NA", "Unknown", "-", "1.2E+11", "0", "P7")]
        [True, True, True, True, False, False]
    """
    word = " ".join(patient.casefold().split())
    return is_placeholder(word) or word in NOBODY or is_rounded(word)


def is_rounded(patient: str) -> bool:
    """Tell whether a spreadsheet has made 1.2E+11 or #### of a number."""
    return _SCIENTIFIC.fullmatch(patient) is not None


def patients_of_paths(paths: Sequence[str]) -> list[str] | None:
    """Return the patient of each path, if all paths are of one known layout.

    Example:
        >>> patients_of_paths(["train/patient00027/study1/view1_frontal.jpg"])
        ['patient00027']
        >>> patients_of_paths(["files/p10/p10000032/s50414267/0.jpg", "00000013_026.png"]) is None
        True
    """
    for layout in _IN_PATHS:
        found = [layout.search(path) for path in paths]
        if found and all(found):
            return [match[1] for match in found if match is not None]
    return None


def nameless(manifest: Manifest) -> Counter[str]:
    """Count the ids of a patient column that name nobody; "" for blank cells."""
    column = manifest.columns.patient
    if column is None:
        return Counter()
    return Counter(
        raw or ""
        for raw, patient in zip(manifest.table[column], manifest.patients, strict=True)
        if patient is None
    )


def counted_ids(rows: Counter[str]) -> str:
    """Return ids with their rows for a sentence: 'NA' in 45 rows, blank in 2.

    Example:
        >>> counted_ids(Counter({"NA": 45, "": 2}))
        "'NA' in 45 rows, blank in 2 rows"
    """
    listed = [
        f"{repr(name) if name else 'blank'} in {counted(count, 'row')}"
        for name, count in rows.most_common(3)
    ]
    if len(rows) > len(listed):
        listed.append(f"{len(rows) - len(listed)} more")
    why = "; a spreadsheet has rounded long numbers: make the column text and export it again"
    return ", ".join(listed) + (why if any(map(is_rounded, rows)) else "")


def crowded(patients: Iterable[str | None]) -> dict[str, int]:
    """Return ids with more rows than a patient is likely to have, and how many."""
    rows = Counter(patient for patient in patients if patient is not None)
    total = rows.total()
    found = {}
    for patient, count in rows.most_common(5):
        others = (total - count) / (len(rows) - 1) if len(rows) > 1 else 0.0
        many = count >= max(MANY_ROWS, MANY_TIMES * others, MANY_SHARE * total)
        if many or count > MOST_ROWS:
            found[patient] = count
    return found


@dataclass(frozen=True)
class Spellings:
    """Ids that look like one patient and are written otherwise."""

    a: str
    """Name of a set."""
    b: str
    """Name of the other set, or the same."""
    patients: int
    """How many patients."""
    example: tuple[str, str]
    """One of them, as `a` and as `b` writes it."""


def other_spellings(sets: Mapping[str, Manifest]) -> list[Spellings]:
    """Find ids that differ only in zeros or "patient" in front, `.0`, case or blanks."""
    written: dict[str, dict[str, set[str]]] = {}
    for name, manifest in sets.items():
        written[name] = defaultdict(set)
        for patient in {*manifest.patients} - {None}:
            written[name][_plain(patient)].add(patient)
    found = []
    for a, b in combinations_with_replacement(written, 2):
        examples = [
            next((one, other) for one in sorted(ones) for other in sorted(others) if one != other)
            for key, ones in sorted(written[a].items())
            if len(ones | (others := written[b].get(key, set()))) > 1 and others
        ]
        if examples:
            found.append(Spellings(a, b, len(examples), examples[0]))
    return found


def _plain(patient: str) -> str:
    """Return an id without what programs add to it or take from it."""
    word = "".join(patient.casefold().split())
    number = _NUMBER.fullmatch(word)
    return word if number is None else number[1].lstrip("0") or "0"
