"""What an evaluation says, as frozen dataclasses: a number never travels without its counts."""

from __future__ import annotations

from dataclasses import dataclass

POWER_FACTOR = 2.80
"""1.96 + 0.84: standard errors that a test at the 5 % level finds with a power of 80 %."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, or the reason why it is missing."""

    value: float | None
    """The metric on the data itself; None where undefined."""
    low: float | None
    """Lower limit of the interval; None without one."""
    high: float | None
    """Upper limit of the interval; None without one."""
    reason: str | None
    """Why the value or its interval is None; None for a metric that never has an interval."""
    cautions: tuple[str, ...]
    """What to know before trusting the interval."""


@dataclass(frozen=True)
class Difference:
    """One number minus another of the same metric: two models, or two sets."""

    difference: float | None
    """First minus second, on the data; None where undefined."""
    low: float | None
    """Lower limit of the 95 % interval."""
    high: float | None
    """Upper limit of the 95 % interval."""
    standard_error: float | None
    """Jackknife over patients; 0 where the difference never varies."""
    t: float | None
    """Difference / standard error; None where that is zero or undefined."""
    degrees_of_freedom: float | None
    """Of Student's t, for interval and test."""
    p_value: float | None
    """Two-sided."""
    reason: str | None
    """Why something above is None."""
    cautions: tuple[str, ...]
    """What to know before trusting interval and test."""
    first: float | None
    """The first number."""
    second: float | None
    """The second number."""
    labels: tuple[str, ...]
    """The labels that both average."""

    @property
    def detectable(self) -> float | None:
        """Minimum detectable difference with 80 % power; None where it cannot be said.

        2.80 standard errors: a two-sided test at the 5 % level finds a true difference of this
        size with a power of 80 %, because 1.96 + 0.84 = 2.80 (the normal quantiles of 97.5 % and
        80 %). It is about true differences; an observed one is judged by its interval.
        """
        if self.reason is not None or not self.standard_error:
            return None
        found = POWER_FACTOR * self.standard_error
        return found if found <= 1 else None


@dataclass(frozen=True)
class CalibrationBin:
    """One of up to 15 bins of equal count, by rising probability."""

    rows: int
    """Known rows in it."""
    probability: float
    """Their mean probability."""
    share: float
    """Share of positives among them."""


@dataclass(frozen=True)
class Calibration:
    """How probabilities compare with what happened, for one label."""

    prevalence: float | None
    """Share of positives among known rows; None without known rows."""
    mean_probability: float | None
    """Mean probability of known rows."""
    intercept: Estimate
    """Calibration in the large: the intercept of a logistic fit with the logit as offset; 0 is
    perfect, above 0 means probabilities are too low."""
    slope: Estimate
    """Slope of a logistic fit on the logit; 1 is perfect, below 1 means too extreme."""
    bins: tuple[CalibrationBin, ...]
    """For the reliability plot; empty without known rows."""


@dataclass(frozen=True)
class OperatingPoint:
    """What happens at one threshold that validation chose."""

    rule: str
    """`youden`, or `sensitivity>=0.90` and the like."""
    threshold: float | None
    """On logits: positive means logit ≥ threshold; None where validation cannot choose."""
    probability: float | None
    """The same threshold as a probability."""
    reason: str | None
    """Why there is no threshold."""
    chosen_on: tuple[int, int]
    """Known positive and negative validation rows that chose it."""
    true_positives: int
    """Rows of the test set, known and above, by truth."""
    false_positives: int
    """Negatives at or above the threshold."""
    true_negatives: int
    """Negatives below it."""
    false_negatives: int
    """Positives below it."""
    sensitivity: Estimate
    """Share of positives found (recall)."""
    specificity: Estimate
    """Share of negatives passed."""
    ppv: Estimate
    """Positive predictive value (precision), at the prevalence of this set."""
    npv: Estimate
    """Negative predictive value, at the prevalence of this set."""
    f1: Estimate
    """Harmonic mean of sensitivity and PPV."""


@dataclass(frozen=True)
class LabelResult:
    """One label (or class, against the rest) on one set."""

    name: str
    """The label or class."""
    auroc: Estimate
    """Area under the ROC curve, with Newcombe's score interval scaled by the design effect."""
    positives: int
    """Known positive rows."""
    negatives: int
    """Known negative rows."""
    masked: int
    """Rows whose label is unknown and left out."""
    positive_patients: int
    """Patients (or images, by `Evaluation.unit`) with at least one positive row."""
    negative_patients: int
    """Patients (or images) with at least one negative row."""
    standard_error: float | None = None
    """Of the AUROC: jackknife over patients (or images); None where undefined."""
    design_effect: float | None = None
    """How much patients with several rows widen the variance, at least 1; None where undefined."""
    average_precision: Estimate | None = None
    """Area under the precision-recall steps."""
    brier: Estimate | None = None
    """Mean squared error of the probability."""
    calibration_error: Estimate | None = None
    """Expected calibration error over bins of equal count; never with an interval, because it is
    above zero even for perfect probabilities."""
    calibration: Calibration | None = None
    """What the reliability plot shows."""
    operating_points: tuple[OperatingPoint, ...] = ()
    """At thresholds chosen on validation; empty without a validation split."""


@dataclass(frozen=True)
class Average:
    """One metric over several labels."""

    average: str
    """`macro` (unweighted mean), `weighted` (by positives) or `micro` (all label-rows pooled)."""
    metric: str
    """`auroc`, `average_precision`, `brier` or `calibration_error`."""
    estimate: Estimate
    """With its interval."""
    labels: tuple[str, ...]
    """The labels that enter, fixed on the data."""


@dataclass(frozen=True)
class Evaluation:
    """What one set says about one model."""

    kind: str
    """binary, multilabel or multiclass."""
    rows: int
    """Rows evaluated."""
    unit: str
    """Whose rows belong together: "patient", or "image" where no row names a patient."""
    clusters: int
    """Number of such units; a row without a patient counts as one."""
    rows_without_patient: int
    """Rows that name no patient."""
    confidence: float
    """Nominal coverage of the intervals."""
    interval_method: str
    """How the intervals were made."""
    averaging: str
    """What the macro value is."""
    macro: Estimate
    """Mean AUROC over `macro_labels`."""
    macro_labels: tuple[str, ...]
    """The labels with scores and both classes among known rows: fixed on the data."""
    labels: tuple[LabelResult, ...]
    """One for each label, in the order given."""
    averages: tuple[Average, ...] = ()
    """Every other average; the macro AUROC is `macro`."""


@dataclass(frozen=True)
class SubgroupLabel:
    """One label within one subgroup."""

    name: str
    """The label or class."""
    auroc: Estimate
    """As in `LabelResult`."""
    positives: int
    """Known positive rows of the subgroup."""
    negatives: int
    """Known negative rows of the subgroup."""


@dataclass(frozen=True)
class Subgroup:
    """The rows of a set that share one value of a column."""

    column: str
    """The manifest's column, such as `sex`."""
    value: str
    """The value; for ages a range such as `40-59`; `(blank)` where there is none."""
    rows: int
    """Rows with that value."""
    clusters: int
    """Patients (or images) among them."""
    macro: Estimate
    """Mean AUROC over `macro_labels`."""
    macro_labels: tuple[str, ...]
    """Labels with scores and both classes within the subgroup."""
    labels: tuple[SubgroupLabel, ...]
    """One for each label, in the order of the task."""


@dataclass(frozen=True)
class WithinStrata:
    """AUROC that compares only images of equal strata, such as the same view and sex."""

    columns: tuple[str, ...]
    """The columns whose combinations are the strata."""
    strata: int
    """Number of combinations that occur."""
    macro: Estimate
    """Mean over `macro_labels`."""
    macro_labels: tuple[str, ...]
    """Labels with at least one pair within a stratum."""
    labels: tuple[Estimate, ...]
    """One for each label, in the order of the task."""
