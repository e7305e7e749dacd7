"""When a setting has an effect: one table for all commands.

A setting that is typed and does nothing is a mistake of the user or of the program: it is refused
on the command line, and named where a file or the environment may hold it for other runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cxrlearn.workflows.setting_values import NamedPath

PROBES = {"logreg": "logistic regression", "linear": "--linear", "knn": "--knn"}


@dataclass(frozen=True)
class Effect:
    """The condition under which a setting does something."""

    when: Callable[[Any], bool]
    """Takes the values of all settings of the command, as attributes."""
    otherwise: str
    """What to say after the option's name where it does nothing; `{probe}` is the probe's."""


def probe_kind(settings: Any) -> str:  # noqa: ANN401 - a config, or its values
    """Return which probe settings ask for: logreg, linear or knn."""
    return "linear" if settings.linear else "knn" if settings.knn else "logreg"


def _probe(*kinds: str) -> Effect:
    owners = " and ".join(PROBES[kind] for kind in kinds)
    return Effect(lambda s: probe_kind(s) in kinds, f"belongs to {owners}, not to {{probe}}.")


_WITH_CSV_FILES = Effect(
    lambda s: s.images is None,
    "goes with CSV files: the paths of --images DIR are relative to DIR.",
)
_WITH_WEIGHTS = Effect(
    lambda s: s.random_weights is None,
    "does nothing beside --random-weights, which needs no file: leave one of them out.",
)
_WITH_VALIDATION = "needs a validation split: give --val-csv, or --csv."
_STUDY = {
    "weights": _WITH_WEIGHTS,
    "split_column": Effect(
        lambda s: s.csv is not None, "needs --csv FILE: it names the column that divides one file."
    ),
    "split_by_image": Effect(
        lambda s: s.csv is not None, "needs --csv FILE: separate files are not divided."
    ),
    "operating_point": Effect(lambda s: s.csv or s.val_csv, _WITH_VALIDATION),
    "aggregate": Effect(
        lambda s: s.aggregate_by is not None,
        "needs --aggregate-by COLUMN: it says how the images of one value are joined.",
    ),
}

EFFECTS: dict[str, dict[str, Effect]] = {
    "embed": {
        "weights": _WITH_WEIGHTS,
        "image_root": _WITH_CSV_FILES,
        "path_column": _WITH_CSV_FILES,
        "path_prefix": _WITH_CSV_FILES,
        "path_suffix": _WITH_CSV_FILES,
    },
    "probe": {
        **_STUDY,
        "C": _probe("logreg"),
        "max_iter": _probe("logreg"),
        "solver": _probe("logreg"),
        "standardize": _probe("logreg"),
        "class_weight": _probe("logreg", "linear"),
        "learning_rate": _probe("linear"),
        "epochs": _probe("linear"),
        "k": _probe("knn"),
        "repeats": Effect(
            lambda s: s.few_shot or any(share < 1 for share in s.train_fraction),
            "needs a label-efficiency curve: --train-fraction below 1, or --few-shot.",
        ),
        "memory_limit": Effect(
            lambda s: probe_kind(s) == "logreg" and s.solver == "batched",
            "needs logistic regression with --solver batched: nothing else reads features from "
            "disk as needed.",
        ),
    },
    "finetune": {
        **_STUDY,
        "momentum": Effect(lambda s: s.optimizer == "sgd", "belongs to --optimizer sgd."),
        "layer_decay": Effect(
            lambda s: not s.freeze_backbone, "does nothing with --freeze-backbone."
        ),
        "patience": Effect(lambda s: s.csv or s.val_csv, _WITH_VALIDATION),
        "max_restarts": Effect(lambda s: s.gpus, "is for the workers of --gpus."),
        "features_dir": Effect(
            lambda s: s.backbone_from is None or s.backbone_from.startswith("the only file"),
            "does nothing where --model or cxrlearn.toml names the backbone: finetune looks there "
            "for nothing else.",
        ),
    },
    "predict": {
        "image_root": _WITH_CSV_FILES,
        "path_column": _WITH_CSV_FILES,
        "path_prefix": _WITH_CSV_FILES,
        "path_suffix": _WITH_CSV_FILES,
        "saliency_label": Effect(lambda s: s.saliency is not None, "goes with --saliency DIR."),
    },
}


def without_effect(section: str, settings: Any) -> dict[str, str]:  # noqa: ANN401 - as `probe_kind`
    """Return the settings of a command that do nothing in this run, and why in words."""
    found = {}
    for key, effect in EFFECTS.get(section, {}).items():
        if not effect.when(settings):
            probe = ""
            if section == "probe":
                kind = probe_kind(settings)
                probe = "--use-logreg" if kind == "logreg" else PROBES[kind]
            found[key] = effect.otherwise.format(probe=probe)
    return found


def unused_weights(weights: Sequence[NamedPath], models: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each `NAME=FILE` of a backbone that is not in this run."""
    from cxrlearn.backbones.registry import list_specs

    if "all" in models:
        names = {name for spec in list_specs() for name in (spec.name, *spec.aliases)}
    else:
        names = set(models)
        for spec in list_specs():
            own = {spec.name, *spec.aliases}
            names |= own if own & names else set()
    for entry in weights:
        if entry.name is not None and entry.name not in names:
            yield (
                f"--weights {entry}: no backbone of this run has the name {entry.name!r}; expected "
                f"{' or '.join(models)}."
            )
