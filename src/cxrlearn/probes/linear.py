"""One linear layer trained by stochastic gradient descent, at many learning rates in one pass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from cxrlearn.errors import DataError, TrainingError, UsageError
from cxrlearn.probes.heads import (
    Heads,
    HeadTask,
    RowBatches,
    Scaling,
    balancing_weight,
    labelled_rows,
    one_thread,
    starting_bias,
)
from cxrlearn.probes.judge import Judge, Trace
from cxrlearn.probes.labelled import Labelled
from cxrlearn.probes.linear_results import LinearAccount, LinearFit, RateTrial
from cxrlearn.probes.linear_settings import RATES, LinearSettings
from cxrlearn.probes.model import FloatArray, LogisticFit
from cxrlearn.runtime.events import SILENT
from cxrlearn.training.loop import train
from cxrlearn.training.optim import LEARNING_RATE, OptimizerConfig, build_optimizer
from cxrlearn.training.plan import Hooks, LoopConfig, TrainResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxrlearn.runtime.events import Reporter
    from cxrlearn.training.position import EpochRow


def fit_linear(  # noqa: PLR0913 - keyword-only past the data
    features: npt.ArrayLike,
    values: npt.ArrayLike,
    known: npt.ArrayLike,
    kind: str,
    *,
    names: Sequence[str],
    validation: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike] | None = None,
    settings: LinearSettings | None = None,
    device: torch.device | None = None,
    ids: Sequence[str] | None = None,
    reporter: Reporter = SILENT,
) -> LinearFit:
    """Train one linear layer with SGD, momentum and a cosine schedule; no penalty by default.

    The loss is the masked mean over the known labels of a batch, of all labels together, as in
    the original. Features are centred and divided by one number, the root of their mean variance
    in train; both are folded back, so the fit takes raw features. Weights start at 0, the bias of
    a label at the log-odds of its (weighted) train prevalence.

    Rate and epoch are chosen on validation by macro AUROC over the labels with both classes
    there; where there is none, by the mean validation loss. All rates see the same batches in one
    pass and stop independently, so each ends as if it had been trained alone. Without validation
    labels there is one rate and the last epoch is taken. A rate that diverges is given up and
    named.

    Args:
        features: (N, D) real and finite.
        values: (N, L) of 0 and 1; multi-class: one-hot.
        known: (N, L) bool; labels where it is False do not enter the loss.
        kind: "binary", "multilabel" or "multiclass".
        names: L labels or classes.
        validation: features, values, known by which rate and epoch are chosen.
        settings: rates, epochs and so on.
        device: where it is trained; None: the CPU.
        ids: (N,) names of the rows, for errors.
        reporter: shows progress.

    Raises:
        DataError: shapes differ, or features are NaN or infinite.
        UsageError: several rates, and no validation labels to choose by.
        TrainingError: every rate diverged.
    """
    chosen = settings or LinearSettings()
    data = Labelled.of(features, values, known, labels=len(names), ids=ids)
    columns = data.fittable()
    if not len(columns):
        return LinearFit(_logistic_fit(data, kind, names, None, 0), None)
    held_out = None if validation is None else _held_out(validation, data, columns, kind)
    run = _Run.of(data, columns, kind, held_out, chosen, device or torch.device("cpu"))
    with one_thread():
        result = run.train(reporter)
    return run.assemble(result, names)


def _held_out(
    validation: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike],
    data: Labelled,
    columns: npt.NDArray[np.intp],
    kind: str,
) -> Labelled | None:
    """Return the validation rows that can judge the fitted columns; None where there is none."""
    features, values, known = validation
    held_out = Labelled.of(features, values, known, labels=data.known.shape[1])
    if held_out.features.shape[1] != data.features.shape[1]:
        raise DataError(
            f"Validation has {held_out.features.shape[1]} features a row, train has "
            f"{data.features.shape[1]}: they are of two models."
        )
    says_something = held_out.positive if kind == "multiclass" else held_out.known
    return held_out.part(columns) if says_something[:, columns].any() else None


@dataclass(frozen=True)
class _Run:
    """Heads ready to be trained."""

    data: Labelled
    """Train, with every label."""
    columns: npt.NDArray[np.intp]
    """Labels that can be fitted."""
    kind: str
    rates: tuple[float, ...]
    """Rising."""
    settings: LinearSettings
    scaling: Scaling
    task: HeadTask
    judge: Judge | None

    @classmethod
    def of(
        cls,
        data: Labelled,
        columns: npt.NDArray[np.intp],
        kind: str,
        held_out: Labelled | None,
        settings: LinearSettings,
        device: torch.device,
    ) -> _Run:
        rates = _rates(settings, can_choose=held_out is not None)
        fitted = data.part(columns)
        scaling = Scaling.of(fitted.features)
        rows = labelled_rows(fitted, kind, scaling, device)
        if settings.class_weight == "balanced":
            rows = replace(rows, weight=balancing_weight(fitted, kind).to(device))
        start = starting_bias(fitted, kind, rows.weight).to(device)
        heads = Heads(len(rates), start, fitted.features.shape[1])
        judge = None
        if held_out is not None:
            seen = labelled_rows(held_out, kind, scaling, device)
            judge = Judge(heads, rates, seen, held_out, settings.patience)
        task = HeadTask(heads, rows)
        return cls(data, columns, kind, rates, settings, scaling, task, judge)

    @property
    def batches(self) -> RowBatches:
        """Train rows in the order of the seed, with their known labels (or the one class)."""
        known = self.task.data.known.reshape(len(self.task.data.known), -1)
        counts = known.sum(dim=1).cpu().numpy()
        device = self.task.data.features.device
        return RowBatches(counts, self.settings.batch_size, self.settings.seed, device)

    def train(self, reporter: Reporter) -> TrainResult:
        """Train all heads in one pass of the shared loop."""
        heads = self.task.heads
        # Parameter groups hold the rates: the base rate is 1, a head's scale is its own rate.
        scales = {
            f"{kind}.{number}": rate
            for number, rate in enumerate(self.rates)
            for kind in ("weights", "biases")
        }
        optimizer = build_optimizer(
            heads.named_parameters(),
            OptimizerConfig(
                lr=1.0,
                momentum=self.settings.momentum,
                weight_decay=self.settings.weight_decay,
            ),
            scales=scales,
        )
        return train(
            heads,
            self.task,
            self.batches,
            optimizer,
            config=LoopConfig(
                epochs=self.settings.epochs,
                patience=None,  # each head has its own: the judge's
                seed=self.settings.seed,
            ),
            hooks=Hooks(validate=self.judge, reporter=reporter, title="training the linear probe"),
        )

    def assemble(self, result: TrainResult, names: Sequence[str]) -> LinearFit:
        """Pick the best head and account for all of them."""
        history = result.position.history
        traces = self._traces(len(history))
        number = _best(traces)
        weights = None if number is None else traces[number].weights
        if number is None or weights is None:
            raise TrainingError(
                f"the linear probe diverged at every learning rate: "
                f"{', '.join(f'{rate:g}' for rate in self.rates)}. Try smaller ones."
            )
        account = self._account(history, traces, number, names)
        folded = self.scaling.fold(*weights)
        fit = _logistic_fit(self.data, self.kind, names, (self.columns, *folded), account.steps)
        return LinearFit(fit, account)

    def _account(
        self, history: Sequence[EpochRow], traces: list[Trace], number: int, names: Sequence[str]
    ) -> LinearAccount:
        judge, chosen = self.judge, traces[number].epoch
        best_epoch = len(history) - 1 if chosen is None else chosen
        return LinearAccount(
            rate=self.rates[number],
            criterion=None if judge is None else judge.criterion,
            judged_by=tuple(names[self.columns[i]] for i in judge.judged_by) if judge else (),
            trials=tuple(
                RateTrial(rate, trace.score, trace.epoch, trace.diverged)
                for rate, trace in zip(self.rates, traces, strict=True)
            ),
            at_limit=len(self.rates) > 1 and number in {0, len(self.rates) - 1},
            epochs=len(history),
            best_epoch=best_epoch,
            steps=(best_epoch + 1) * len(self.batches),
            scores=tuple(judge.scores) if judge else (),
            losses=tuple(row.loss for row in history) if len(self.rates) == 1 else (),
            mean=self.scaling.mean,
            unit=self.scaling.unit,
        )

    def _traces(self, epochs: int) -> list[Trace]:
        """Return the judge's traces; without one, the last weights of the only head."""
        if self.judge is not None:
            return self.judge.traces
        weights = self.task.heads.head(0)
        finite = bool(self.task.heads.open.all()) and np.isfinite(weights[0]).all()
        return [Trace(weights=weights, diverged=None if finite else epochs - 1)]


def _rates(settings: LinearSettings, *, can_choose: bool) -> tuple[float, ...]:
    if settings.rates is None:
        return RATES if can_choose else (LEARNING_RATE,)
    if len(settings.rates) > 1 and not can_choose:
        raise UsageError(
            f"{len(settings.rates)} learning rates were given and no validation labels to choose "
            "by. Give one rate, or a validation split."
        )
    return tuple(sorted(settings.rates))


def _best(traces: Sequence[Trace]) -> int | None:
    """Return the number of the best head that did not diverge, of equal ones the first."""
    candidates = [
        number
        for number, trace in enumerate(traces)
        if trace.diverged is None and trace.weights is not None
    ]
    return max(candidates, key=lambda n: (traces[n].score or 0.0, -n), default=None)


def _logistic_fit(
    data: Labelled,
    kind: str,
    names: Sequence[str],
    fitted: tuple[npt.NDArray[np.intp], FloatArray, FloatArray] | None,
    steps: int,
) -> LogisticFit:
    """Put the rows of the fitted labels among those of all, which are NaN."""
    weights = np.full((len(names), data.features.shape[1]), np.nan)
    intercept = np.full(len(names), np.nan)
    if fitted is not None:
        columns, weights[columns], intercept[columns] = fitted
    return LogisticFit(kind, weights, intercept, data.accounts(names, steps))
