"""Fitting the probe that was asked for, and the account of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from cxrlearn.errors import UsageError
from cxrlearn.probes import batched, logistic
from cxrlearn.probes.batched import BatchedLogistic
from cxrlearn.probes.centred import CentredMatrix
from cxrlearn.probes.certificate import CERTIFIED
from cxrlearn.probes.grid import Validation
from cxrlearn.probes.knn import fit_knn
from cxrlearn.probes.linear import fit_linear
from cxrlearn.probes.linear_settings import LinearSettings
from cxrlearn.probes.logistic import DEFAULT_C, DEFAULT_C_MULTICLASS, LogisticSolver
from cxrlearn.probes.selection import choose_c
from cxrlearn.reports.schema import (
    LinearReport,
    NeighboursReport,
    ProbeLabelReport,
    ProbeReport,
    RateReport,
    TrialReport,
)
from cxrlearn.runtime.devices import resolve_device

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxrlearn.data.tasks import Task
    from cxrlearn.probes.centred import RowSource
    from cxrlearn.probes.knn import KnnFit
    from cxrlearn.probes.linear_results import LinearFit
    from cxrlearn.probes.model import LabelFit, LogisticFit
    from cxrlearn.probes.selection import Choice
    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.probe_config import ProbeConfig
    from cxrlearn.workflows.probe_data import SplitData

BLOCK = 16384
"""Rows scored at once."""


@dataclass(frozen=True)
class FittedProbe:
    """A probe and how it came about."""

    probe: LogisticFit | KnnFit
    """Scores features."""
    report: ProbeReport
    """What the report says of the fit."""

    def decision(self, features: RowSource) -> NDArray[np.float64]:
        """Return log-odds (N, L), block by block."""
        rows = int(features.shape[0])
        blocks = [
            self.probe.decision(features[slice(start, start + BLOCK)])
            for start in range(0, rows, BLOCK)
        ]
        return np.concatenate(blocks) if blocks else np.empty((0, len(self.probe.names)))


def fit_probe(
    config: ProbeConfig, task: Task, train: SplitData, val: SplitData | None, reporter: Reporter
) -> FittedProbe:
    """Fit on train alone; choices are made on validation.

    Raises:
        UsageError: a choice was asked for and there is no validation split.
        HardwareError: the device is not there.
    """
    if config.kind == "linear":
        return _fit_linear(config, task, train, val, reporter)
    if config.kind == "knn":
        return _fit_knn(config, task, train, val)
    return _fit_logreg(config, task, train, val, reporter)


def default_c(task: Task) -> float:
    """Return the C of the original program."""
    return DEFAULT_C_MULTICLASS if task.kind == "multiclass" else DEFAULT_C


def _fit_logreg(
    config: ProbeConfig, task: Task, train: SplitData, val: SplitData | None, reporter: Reporter
) -> FittedProbe:
    scale = _scale(train.features) if config.standardize else None
    features = _divided(train.features, scale)
    solver = _solver(config, task, train, features)
    choice = None
    if not isinstance(config.C, float) and not (config.C is None and val is None):
        if val is None:
            raise UsageError(
                "--C auto needs a validation split: C is chosen there. Or give a number."
            )
        reporter.notice(f"choosing C on {len(val.image_ids):,} validation images")
        seen = _divided(val.features, scale)[slice(None)]
        held_out = Validation(seen, val.values, val.known)
        choice = choose_c(
            solver, features, held_out, names=task.names, kind=task.kind, default_c=default_c(task)
        )
    given = config.C if isinstance(config.C, float) else default_c(task)
    fit = solver.fit(given if choice is None else choice.values)
    if scale is not None:
        fit = replace(fit, weights=fit.weights / scale)
    return FittedProbe(fit, _logreg_report(config, fit, choice))


def _all(data: SplitData) -> NDArray[np.float32]:
    """Return the features of a split as an array, read from disk if they are there."""
    return np.asarray(data.features[slice(None)])


def _scale(features: RowSource) -> NDArray[np.float32]:
    """Return the standard deviation of each feature, 1 where it does not vary, (D,)."""
    centred = CentredMatrix.of(features)
    spread = centred.spread()
    # A constant has the spread that its mean was rounded by; divided by that, it would be huge.
    varies = spread > 1e-10 * np.abs(centred.mean)
    return np.where(varies, spread, 1.0).astype(np.float32)


@dataclass(frozen=True)
class _Divided:
    """Rows on disk, divided as they are read."""

    source: RowSource
    scale: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    def __getitem__(self, rows: slice, /) -> NDArray[np.floating]:
        return np.asarray(self.source[rows] / self.scale)


def _divided(features: RowSource, scale: NDArray[np.float32] | None) -> RowSource:
    """Return the features in units of `scale`; what is on disk stays there."""
    if scale is None:
        return features
    return features / scale if isinstance(features, np.ndarray) else _Divided(features, scale)


def _solver(
    config: ProbeConfig, task: Task, train: SplitData, features: RowSource
) -> BatchedLogistic | LogisticSolver:
    balanced = config.class_weight == "balanced"
    if config.solver == "sklearn":
        return LogisticSolver(
            np.asarray(features[slice(None)]),
            train.values,
            train.known,
            task.kind,
            task.names,
            max_iter=config.max_iter,
            balanced=balanced,
        )
    device = resolve_device(config.device)
    return BatchedLogistic(
        features,
        train.values,
        train.known,
        task.kind,
        task.names,
        max_iter=config.max_iter,
        balanced=balanced,
        # Metal has no float64, without which nothing can be certified.
        device="cpu" if device.type == "mps" else str(device),
        resident=isinstance(features, np.ndarray),
    )


def _logreg_report(config: ProbeConfig, fit: LogisticFit, choice: Choice | None) -> ProbeReport:
    ours = config.solver == "batched"
    objective = logistic.OBJECTIVE if not config.standardize else logistic.OBJECTIVE_STANDARDIZED
    if config.class_weight == "balanced":
        objective += "; rows weighted inversely to the frequency of their class"
    path = () if choice is None else choice.path
    return ProbeReport(
        kind="logreg",
        solver=batched.SOLVER if ours else logistic.SOLVER,
        objective=objective,
        max_iter=config.max_iter,
        tolerance=CERTIFIED if ours else logistic.TOLERANCE,
        seed=config.seed,
        labels=tuple(
            _label_report(config, label, choice, number) for number, label in enumerate(fit.labels)
        ),
        path=tuple(TrialReport(one.strength, one.C, one.losses, one.shared) for one in path),
    )


def _label_report(
    config: ProbeConfig, label: LabelFit, choice: Choice | None, number: int
) -> ProbeLabelReport:
    chosen = None if choice is None else choice.labels[number]
    given: Literal["given", "default"] = "given" if isinstance(config.C, float) else "default"
    return ProbeLabelReport(
        name=label.name,
        C=label.C,
        c_from=None if label.C is None else given if chosen is None else chosen.how,
        strength=None if chosen is None else chosen.strength,
        at_limit=chosen is not None and chosen.at_limit,
        iterations=label.iterations,
        converged=label.converged,
        positives=label.positives,
        negatives=label.negatives,
        reason=label.reason,
        notes=label.notes,
        gap=label.gap,
    )


def _fit_linear(
    config: ProbeConfig, task: Task, train: SplitData, val: SplitData | None, reporter: Reporter
) -> FittedProbe:
    settings = LinearSettings(
        rates=config.learning_rate or None,
        epochs=config.epochs,
        class_weight="balanced" if config.class_weight == "balanced" else None,
        seed=config.seed,
    )
    found = fit_linear(
        _all(train),
        train.values,
        train.known,
        task.kind,
        names=task.names,
        validation=None if val is None else (_all(val), val.values, val.known),
        settings=settings,
        device=resolve_device(config.device),
        reporter=reporter,
    )
    return FittedProbe(found.fit, _linear_report(config, settings, found))


def _linear_report(config: ProbeConfig, settings: LinearSettings, found: LinearFit) -> ProbeReport:
    account = found.account
    linear = (
        None
        if account is None
        else LinearReport(
            rate=account.rate,
            criterion=account.criterion,
            judged_by=account.judged_by,
            tried=tuple(
                RateReport(one.rate, one.score, one.best_epoch, one.diverged)
                for one in account.trials
            ),
            at_limit=account.at_limit,
            epochs=account.epochs,
            best_epoch=account.best_epoch,
            batch_size=settings.batch_size,
            momentum=settings.momentum,
        )
    )
    return ProbeReport(
        kind="linear",
        solver="one linear layer, stochastic gradient descent with momentum, cosine schedule",
        objective="mean log-loss of known labels, features about their mean in units of their "
        "root mean variance",
        max_iter=config.epochs,
        tolerance=None,
        seed=config.seed,
        labels=tuple(_plain_label(label) for label in found.fit.labels),
        path=(),
        linear=linear,
    )


def _fit_knn(
    config: ProbeConfig, task: Task, train: SplitData, val: SplitData | None
) -> FittedProbe:
    fit = fit_knn(
        _all(train),
        train.values,
        train.known,
        task.kind,
        names=task.names,
        k=config.k,
        validation=None if val is None else (_all(val), val.values, val.known),
    )
    report = ProbeReport(
        kind="knn",
        solver="nearest neighbours by cosine similarity, exact",
        objective="none: the weighted share of positives among the nearest train rows",
        max_iter=None,
        tolerance=None,
        seed=config.seed,
        labels=tuple(_plain_label(label) for label in fit.labels),
        path=(),
        knn=NeighboursReport(
            fit.k, fit.temperature, tuple((trial.k, trial.loss) for trial in fit.trials)
        ),
    )
    return FittedProbe(fit, report)


def _plain_label(label: LabelFit) -> ProbeLabelReport:
    """Return the account of a label that has no C."""
    return ProbeLabelReport(
        name=label.name,
        C=None,
        c_from=None,
        strength=None,
        at_limit=False,
        iterations=label.iterations,
        converged=None,
        positives=label.positives,
        negatives=label.negatives,
        reason=label.reason,
        notes=label.notes,
    )
