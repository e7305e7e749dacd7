"""`--C auto`: one C for each label, chosen on validation by log-loss; the fits see train only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from cxrlearn.errors import DataError
from cxrlearn.probes.centred import CentredMatrix
from cxrlearn.probes.grid import LAST_STEPS, Decision, Search, Solver, Validation
from cxrlearn.probes.model import check_features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrlearn.probes.centred import RowSource

FEW_POSITIVES = 20
"""Labels with fewer validation positives (or negatives) share one C."""

How = Literal["validation", "shared", "default"]


@dataclass(frozen=True)
class LabelChoice:
    """How the C of one label was chosen."""

    name: str
    """The label or class."""
    C: float
    """The chosen value."""
    strength: float | None
    """λ = 1 / (C · N · mean feature variance); None where C is the default."""
    how: How
    """By its own validation loss, by that shared with other labels, or not at all."""
    positives: int
    """Known validation positives."""
    negatives: int
    """Known validation negatives."""
    at_limit: bool
    """The best value is the last the grid holds: the loss may still fall beyond it."""


@dataclass(frozen=True)
class Trial:
    """One value of the grid."""

    strength: float
    """λ."""
    C: float
    """1 / (λ · N · mean feature variance)."""
    losses: tuple[float | None, ...]
    """Mean validation log-loss of each label in nats, for multi-class the mean cross-entropy in
    each; None where not tried or not defined."""
    shared: float | None
    """Mean relative loss by which labels with few positives choose; None where not tried."""


@dataclass(frozen=True)
class Choice:
    """The outcome of `choose_c`."""

    labels: tuple[LabelChoice, ...]
    """One for each label."""
    path: tuple[Trial, ...]
    """Every value tried, by rising λ."""

    @property
    def values(self) -> tuple[float, ...]:
        """The chosen C of each label."""
        return tuple(label.C for label in self.labels)


def choose_c(
    solve: Solver,
    train_features: RowSource,
    validation: Validation,
    *,
    names: Sequence[str],
    kind: str,
    default_c: float,
) -> Choice:
    """Choose C by masked validation log-loss.

    The grid lies in λ = 1 / (C · N · v), with N train rows and v the mean over features of their
    variance in train, so features in other units lead to the same choice. Where an end of the grid
    is best, it grows there. Labels with fewer than 20 validation positives or negatives share the
    C with the best mean of loss / entropy of the label, over all labels with both classes in
    validation. Ties go to the smaller C. Multi-class has one C, by mean cross-entropy.

    Args:
        solve: fits on train; see `Solver`.
        train_features: (N, D); only N and v are taken from them.
        validation: features and labels by which the choice is made.
        names: L labels or classes.
        kind: "binary", "multilabel" or "multiclass".
        default_c: taken where validation cannot decide.

    Raises:
        DataError: shapes differ, or a feature is not finite.
    """
    shape = (len(validation.features), len(names))
    if validation.values.shape != shape or validation.known.shape != shape:
        raise DataError(
            f"The validation labels and their mask must have shape {shape}. "
            f"Got {validation.values.shape} and {validation.known.shape} instead."
        )
    decisions = _decisions(validation, kind)
    search = Search(solve, validation, _loss_scale(train_features), kind)
    search.run(decisions)
    by_taker = {column: decision for decision in decisions for column in decision.takers}
    labels = tuple(
        _label_choice(search, by_taker.get(column), default_c, name, column, validation)
        for column, name in enumerate(names)
    )
    return Choice(labels, _path(search, decisions))


def _decisions(validation: Validation, kind: str) -> list[Decision]:
    positives, negatives = validation.counts()
    columns = range(len(positives))
    if kind == "multiclass":
        return [Decision((0,), tuple(columns))] if positives.any() else []
    rarer = np.minimum(positives, negatives)
    own = [Decision((i,), (i,)) for i in columns if rarer[i] >= FEW_POSITIVES]
    judges = tuple(i for i in columns if rarer[i] > 0)
    takers = tuple(i for i in columns if rarer[i] < FEW_POSITIVES)
    return [*own, Decision(judges, takers)] if judges and takers else own


def _loss_scale(train_features: RowSource) -> float:
    """Return N · v, so that C = 1 / (λ · N · v); v is 1 where no feature varies."""
    if isinstance(train_features, np.ndarray):
        check_features(train_features)
    centred = CentredMatrix.of(train_features)
    if centred.count == 0:
        raise DataError("There are no train rows to choose C for.")
    return centred.count * centred.unit**2


def _label_choice(
    search: Search,
    decision: Decision | None,
    default_c: float,
    name: str,
    column: int,
    validation: Validation,
) -> LabelChoice:
    positives, negatives = (int(count[column]) for count in validation.counts())
    step = None if decision is None else search.best_step(decision)
    if decision is None or step is None:
        return LabelChoice(name, default_c, None, "default", positives, negatives, at_limit=False)
    return LabelChoice(
        name=name,
        C=search.c_at(step),
        strength=search.strength(step),
        how="shared" if _is_shared(decision) else "validation",
        positives=positives,
        negatives=negatives,
        at_limit=step in LAST_STEPS,
    )


def _is_shared(decision: Decision) -> bool:
    return len(decision.judges) > 1 or decision.judges[0] not in decision.takers


def _path(search: Search, decisions: Sequence[Decision]) -> tuple[Trial, ...]:
    shared = next((decision for decision in decisions if _is_shared(decision)), None)
    return tuple(
        Trial(
            strength=search.strength(step),
            C=search.c_at(step),
            losses=tuple(None if np.isnan(loss) else float(loss) for loss in search.losses[step]),
            shared=None if shared is None else search.score(shared, step),
        )
        for step in sorted(search.losses)
    )
