"""RunReport: all that a run has to say, as plain frozen dataclasses; version 1 of the document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cxrlearn.evaluation.results import Difference, Estimate, Evaluation, Subgroup, WithinStrata

SCHEMA_VERSION = 1
"""Raised when a key of report.json changes its meaning or goes away; new keys do not raise it."""


@dataclass(frozen=True)
class TaskReport:
    """What was predicted, and what became of unknown labels."""

    kind: str
    """binary, multilabel or multiclass."""
    labels: tuple[str, ...]
    """Label names, or class names for multi-class; fixed on train."""
    columns: tuple[str, ...]
    """The manifest's columns they were read from."""
    uncertain: str
    """What -1 means: mask, zeros or ones."""
    blank: str
    """What a blank means: mask or zeros."""
    positive: str | None
    """Which of two text values was positive, where labels were text."""


@dataclass(frozen=True)
class BackboneReport:
    """Which network made the features, down to the bytes of its weights."""

    tag: str
    """Name of the feature file, without `.h5`."""
    name: str
    """Name in the registry."""
    arch: str | None
    """Variant of the architecture, where there are several."""
    pretrained_on: str | None
    """Variant of the weights, where there are several."""
    features: str
    """Which feature tensor."""
    feature_dim: int
    """Its width D."""
    preprocessing: str
    """Name of the preprocessing record."""
    precision: str
    """Precision of the forward pass."""
    weights: str | None
    """File name of the weights, or their name in the library they came from."""
    weights_sha256: str | None
    """Hash of that file; None where there is no file."""
    verified: bool
    """The hash equals the published one."""
    verification: str
    """The same in words, such as `not verified: no published hash`."""
    random_weights: int | None
    """Seed of random weights: then no number here says anything about the named model."""
    fingerprint: str
    """sha256 of the feature file's fingerprint."""


@dataclass(frozen=True)
class LabelCount:
    """Known labels among the rows used."""

    name: str
    """Label or class."""
    positives: int
    """Rows known to be positive."""
    negatives: int
    """Rows known to be negative."""
    masked: int
    """Rows left out for this label."""


@dataclass(frozen=True)
class SplitReport:
    """One split: what the manifest names and what was used."""

    name: str
    """train, val or the name of a test set."""
    role: Literal["train", "validation", "test"]
    """Fitted on, chosen on, or reported on."""
    source: str
    """The manifest's file name."""
    rows: int
    """Rows of the manifest: used + failed + without_features."""
    used: int
    """Rows that were fitted, chosen or reported on."""
    failed: int
    """Rows left out because their image is missing or unreadable."""
    without_features: int
    """Rows left out because the feature file does not hold them for another reason."""
    patients: int | None
    """Different patients among the rows used; None without a patient column."""
    labels: tuple[LabelCount, ...]
    """Counts of each label over the rows used."""

    def __post_init__(self) -> None:
        """Check that no row is lost without being counted.

        Raises:
            ValueError: the parts do not add up to `rows`.
        """
        if self.rows != self.used + self.failed + self.without_features:
            raise ValueError(
                f"split {self.name!r}: {self.used} used + {self.failed} failed + "
                f"{self.without_features} without features are not {self.rows} rows"
            )


@dataclass(frozen=True)
class OverlapReport:
    """Patients that two splits share. With train: results on the other look too good."""

    a: str
    """One split."""
    b: str
    """The other."""
    patients: int
    """How many patients are in both."""
    examples: tuple[str, ...]
    """A few of them."""


@dataclass(frozen=True)
class ProbeLabelReport:
    """The fit of one label."""

    name: str
    """Label or class."""
    C: float | None
    """Inverse regularisation strength; None where not fitted."""
    c_from: Literal["given", "validation", "shared", "default"] | None
    """`given` by the user; chosen by the label's own `validation` loss; by the loss `shared` by
    labels of few positives; `default`: validation could not decide; None where not fitted."""
    strength: float | None
    """λ = 1 / (C · N · mean feature variance), the unit-free form of C; None unless chosen."""
    at_limit: bool
    """The choice fell on the end of the largest grid."""
    iterations: int | None
    """Iterations of the solver; None where not fitted."""
    converged: bool | None
    """False: the solver stopped early and C, weights and numbers may be off; None: not fitted."""
    positives: int
    """Known positives it was fitted on."""
    negatives: int
    """Known negatives it was fitted on."""
    reason: str | None
    """Why it was not fitted."""
    notes: tuple[str, ...]
    """What the solver warned of."""
    gap: float | None = None
    """Certified upper bound of (objective - minimum) / objective; None where there is none."""


@dataclass(frozen=True)
class TrialReport:
    """One value of the grid of C."""

    strength: float
    """λ."""
    C: float
    """The value."""
    losses: tuple[float | None, ...]
    """Validation log-loss by label, in nats, in the order of `task.labels`."""
    shared: float | None
    """Mean relative loss by which labels of few positives choose."""


@dataclass(frozen=True)
class RateReport:
    """One learning rate of the linear layer."""

    rate: float
    """At the height of the schedule."""
    score: float | None
    """Best validation value of the criterion, of a loss its negative."""
    best_epoch: int | None
    """The epoch it came from, from 0."""
    diverged: int | None
    """The epoch in which it diverged; such a rate is never chosen."""


@dataclass(frozen=True)
class LinearReport:
    """How the linear layer was trained."""

    rate: float
    """The learning rate chosen."""
    criterion: str | None
    """By which rate and epoch were chosen on validation; None: there was no validation split."""
    judged_by: tuple[str, ...]
    """Labels whose validation AUROCs the criterion averages."""
    tried: tuple[RateReport, ...]
    """Every rate, rising."""
    at_limit: bool
    """The largest or smallest rate was best: better ones may lie beyond."""
    epochs: int
    """Epochs run."""
    best_epoch: int
    """Epoch of the weights, from 0."""
    batch_size: int
    """Rows a step."""
    momentum: float
    """Of stochastic gradient descent."""


@dataclass(frozen=True)
class NeighboursReport:
    """How many neighbours are asked."""

    k: int
    """Neighbours."""
    temperature: float
    """Of their weights."""
    tried: tuple[tuple[int, float], ...]
    """Every k tried and its mean relative validation log-loss; empty where k was not chosen."""


@dataclass(frozen=True)
class ProbeReport:
    """How the probe was fitted."""

    kind: str
    """logreg, linear, knn or finetune."""
    solver: str
    """Whose solver, and its precision."""
    objective: str
    """What was minimised."""
    max_iter: int | None
    """Most iterations, for linear most epochs; None for knn."""
    tolerance: float | None
    """Where the solver stops, for ours the certified relative gap; None where nothing converges."""
    seed: int
    """Seed handed to the solver."""
    labels: tuple[ProbeLabelReport, ...]
    """One for each label, in the order of `task.labels`."""
    path: tuple[TrialReport, ...]
    """Every C tried, by rising λ; empty where C was given."""
    linear: LinearReport | None = None
    """For kind linear."""
    knn: NeighboursReport | None = None
    """For kind knn."""


@dataclass(frozen=True)
class SeedReport:
    """One of several trainings that differ in their seed alone."""

    seed: int
    """Of head, order and augmentation."""
    epochs: int
    """Epochs run."""
    best_epoch: int
    """Epoch of the weights, from 0."""
    validation: float | None
    """Best validation score; None without validation."""
    macro: tuple[float | None, ...]
    """Macro AUROC of each test set, in the order of `results`."""


@dataclass(frozen=True)
class EpochReport:
    """One epoch of a training."""

    epoch: int
    """From 0."""
    loss: float | None
    """Mean loss of the known labels of train, as they were met; None: there were none."""
    rate: float
    """Largest learning rate of the last step."""
    skipped: int
    """Steps without a known label."""
    validation_loss: float | None
    """Mean loss of the known labels of validation; None without validation."""
    validation_auroc: float | None
    """Macro AUROC of validation; None where it is not defined."""


@dataclass(frozen=True)
class FinetuneReport:
    """How a network was trained end to end."""

    optimizer: str
    """sgd or adamw."""
    learning_rate: float
    """At the height of the schedule."""
    momentum: float | None
    """Of SGD."""
    weight_decay: float
    """Of matrices and kernels."""
    layer_decay: float
    """Share of the rate from one layer to the one below it; 1: all alike."""
    schedule: str
    """cosine or constant."""
    warmup_epochs: float
    """Epochs of the rise at the start."""
    clip_norm: float | None
    """Largest norm of a gradient."""
    batch_size: int
    """Images of a step, over all ranks and micro-batches."""
    accumulate: int
    """Micro-batches a step."""
    ranks: int
    """Processes that trained together."""
    pos_weight: str
    """none or balanced."""
    head_init: str
    """random, or probe: the logistic regression on the features of the frozen backbone."""
    augment: str
    """light or none."""
    batch_norm: str | None
    """sync, local or frozen; None: there is none in the network."""
    frozen: str | None
    """`all of the backbone`, or up to which module; None: nothing was."""
    learned: int
    """Numbers that learned."""
    parameters: int
    """Numbers of the model."""
    criterion: str | None
    """By which the epoch was chosen on validation; None: there was no validation split."""
    judged_by: tuple[str, ...]
    """Labels whose validation AUROCs the criterion averages."""
    patience: int
    """Epochs without a better score after which training ended; 0: never."""
    ended: str
    """finished, or early."""
    epochs: int
    """Epochs run."""
    best_epoch: int
    """Epoch of the weights, from 0."""
    history: tuple[EpochReport, ...]
    """Every epoch of the training that is reported."""
    seeds: tuple[SeedReport, ...]
    """Every training; the first is the one reported."""


@dataclass(frozen=True)
class FloorReport:
    """The metadata baseline: the same probe on who was imaged and how, on the same rows."""

    columns: tuple[str, ...]
    """Columns it was fitted on, such as age, sex and view."""
    macro: Estimate
    """Its macro AUROC."""
    labels: tuple[Estimate, ...]
    """Its AUROC by label, in the order of `task.labels`."""
    difference: Difference
    """Model minus baseline, macro AUROC."""
    exceeds: bool | None
    """The lower limit of the difference is above zero; None: no verdict."""
    no_verdict: str | None
    """Why there is no verdict, such as fewer than 10 positive patients."""


@dataclass(frozen=True)
class DetectableReport:
    """The minimum detectable difference of macro AUROC between the model and the baseline.

    Other pairs of models have their own; similar backbones usually need less.
    """

    difference: float | None
    """2.80 standard errors: a true difference of this size is found with a power of 80 % at the
    5 % level; None where it cannot be said. An observed one is judged by its own interval."""
    standard_error: float | None
    """Of the paired difference between model and baseline."""
    reason: str | None
    """Why it cannot be said."""


@dataclass(frozen=True)
class DropReport:
    """Difference of the macro AUROC from the first test set, over the labels of both."""

    internal: str
    """Name of the first test set."""
    difference: Difference
    """This set minus the first; negative is a drop."""
    shared_patients: int
    """Patients in both sets; they are accounted for."""


@dataclass(frozen=True)
class SetReport:
    """The result on one test set."""

    name: str
    """Name of the set."""
    evaluation: Evaluation
    """Metrics, intervals and counts."""
    subgroups: tuple[Subgroup, ...] = ()
    """By every subgroup column, in the order of columns and values."""
    within_strata: WithinStrata | None = None
    """AUROC within view and sex; None without such columns."""
    floor: FloorReport | None = None
    """The metadata baseline; None without columns for it."""
    detectable: DetectableReport | None = None
    """The minimum detectable difference against the baseline."""
    drop: DropReport | None = None
    """Difference from the first test set; None for that one."""
    row: str = "image"
    """What is counted: `image`, or after aggregation `patient` or `group`."""


@dataclass(frozen=True)
class PretrainingReport:
    """What the backbone may have seen of a split before."""

    split: str
    """Name of the split."""
    datasets: tuple[str, ...]
    """Datasets that both the split and the backbone's pretraining come from."""
    sentence: str
    """The same in words, with what is not known."""


@dataclass(frozen=True)
class CurveMissingReport:
    """A label that the macro of one size does not average."""

    name: str
    """The label."""
    repeats: int
    """Repeats without an AUROC of it: one class in the training subset or in the test set."""
    of: int
    """Repeats in which any label has an AUROC; where there is none, all repeats."""


@dataclass(frozen=True)
class CurveMacroReport:
    """The macro AUROC of one size over given labels."""

    labels: tuple[str, ...]
    """Labels averaged."""
    macro: tuple[float | None, ...]
    """Of each repeat; None where undefined."""
    mean: float | None
    """Mean over the repeats."""
    low: float | None
    """Smallest of the repeats."""
    high: float | None
    """Largest of the repeats."""


@dataclass(frozen=True)
class CurvePointReport:
    """One point of a label-efficiency curve, on one test set."""

    set_name: str
    """Name of the test set."""
    kind: Literal["fraction", "shots"]
    """A share of the training patients, or a number of positive patients for each label."""
    size: float
    """The share (0 to 1] or the number."""
    rows: tuple[int, ...]
    """Training rows of each repeat."""
    patients: tuple[int, ...] | None
    """Training patients of each repeat; None without patients."""
    macro: tuple[float | None, ...]
    """Macro AUROC of each repeat over `labels`; None where undefined."""
    labels: tuple[str, ...]
    """Labels averaged: those that every repeat of this size could score."""
    mean: float | None
    """Mean over the repeats."""
    low: float | None
    """Smallest of the repeats."""
    high: float | None
    """Largest of the repeats."""
    missing: tuple[CurveMissingReport, ...] = ()
    """The other labels of the task."""
    common: CurveMacroReport | None = None
    """The macro over the labels that all sizes have; None where all have the same."""


@dataclass(frozen=True)
class RunReport:
    """One run. What is volatile (times, host, versions) is not here but in its provenance."""

    command: str
    """probe or finetune."""
    name: str
    """Name of the run's folder."""
    task: TaskReport
    """What was predicted."""
    backbone: BackboneReport
    """By which features."""
    split_origin: str
    """Where the division into splits comes from."""
    splits: tuple[SplitReport, ...]
    """Train first, then validation, then the test sets."""
    overlaps: tuple[OverlapReport, ...]
    """Patients in two splits."""
    probe: ProbeReport
    """How it was fitted."""
    results: tuple[SetReport, ...]
    """One for each test set."""
    warnings: tuple[str, ...]
    """Everything the user was warned of."""
    pretraining: tuple[PretrainingReport, ...] = ()
    """What the backbone may have seen of the splits; empty where nothing is known of either."""
    curve: tuple[CurvePointReport, ...] = ()
    """Label efficiency, by test set and rising size; empty unless asked for."""
    finetune: FinetuneReport | None = None
    """How the network was trained; None for a probe."""
    aggregation: str | None = None
    """What a row of the results is, such as `patient_id, mean of the probabilities`; None: an
    image."""
    null_control: bool = False
    """Training labels were permuted by patient: AUROC should be near 0.5."""

    def __post_init__(self) -> None:
        """Check that every part speaks of the same labels in the same order.

        Raises:
            ValueError: one does not.
        """
        parts = {"the probe": [label.name for label in self.probe.labels]}
        for split in self.splits:
            parts[f"split {split.name!r}"] = [label.name for label in split.labels]
        for result in self.results:
            parts[f"set {result.name!r}"] = [label.name for label in result.evaluation.labels]
        for part, names in parts.items():
            if tuple(names) != self.task.labels:
                raise ValueError(f"the labels of {part} are not those of the task")
