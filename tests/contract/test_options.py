from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args

import pytest
import typer.main
from typer.models import OptionInfo

from cxrlearn.cli import (  # noqa: F401 - each registers itself
    compare,
    demo,
    embed,
    finetune,
    init,
    models,
    options,
    predict,
    probe,
)
from cxrlearn.cli.app import app
from cxrlearn.workflows.embed_config import EmbedConfig
from cxrlearn.workflows.finetune_config import FinetuneConfig
from cxrlearn.workflows.predict_config import PredictConfig
from cxrlearn.workflows.probe_config import ProbeConfig
from cxrlearn.workflows.settings import DATA_KEYS, HIDDEN

SWITCHES = ["--debug", "--json", "--quiet", "-q", "--config", "--show-config"]
BACKBONE = [
    "--model", "-m", "--arch", "--pretrained-on", "--features", "--weights", "--preprocessing",
    "--random-weights", "--offline",
]  # fmt: skip
DATA = [
    "--csv", "--train-csv", "--val-csv", "--test-csv", "--image-root", "--path-column",
    "--path-prefix", "--path-suffix", "--intensity", "--limit",
]  # fmt: skip
COMPUTE = [
    "--device", "--gpus", "--batch-size", "--workers", "--precision", "--allow-failures",
    "--output-dir",
]  # fmt: skip

# Whoever adds an option, adds it here too, and so says that it is worth one more line of --help.
OPTIONS: dict[str, list[str]] = {
    "embed": [
        *SWITCHES, *BACKBONE, *DATA, *COMPUTE,
        "--images", "--store", "--verify-content",
    ],
    "probe": [
        *SWITCHES, *BACKBONE, *DATA, *COMPUTE,
        "--use-logreg", "--linear", "--knn", "--C", "--solver", "--max-iter", "--class-weight",
        "--standardize", "--learning-rate", "--epochs", "--k", "--seed",
        "--operating-point", "--subgroup", "--floor-columns", "--aggregate-by", "--aggregate",
        "--origin", "--null", "--train-fraction", "--few-shot", "--repeats", "--memory-limit",
        "--verbose", "-v", "--store",
        "--split-column", "--split-by-image", "--patient-column", "--strict",
        "--class-columns", "--task", "--positive", "--label-separator", "--blank",
        "--uncertain", "--num-classes",
        "--features-dir", "--name", "--overwrite",
    ],
    "finetune": [
        *SWITCHES, *BACKBONE, *DATA, *COMPUTE,
        "--optimizer", "--learning-rate", "--momentum", "--weight-decay", "--layer-decay",
        "--epochs", "--accumulate", "--schedule", "--warmup-epochs", "--clip-norm", "--patience",
        "--pos-weight", "--head-init",
        "--freeze-to", "--freeze-backbone", "--batch-norm", "--augment", "--seeds",
        "--deterministic", "--save-every", "--resume", "--max-restarts", "--tensorboard", "--null",
        "--cache-dir", "--seed", "--operating-point", "--subgroup",
        "--floor-columns", "--aggregate-by", "--aggregate", "--origin", "--verbose", "-v",
        "--split-column", "--split-by-image", "--patient-column", "--strict",
        "--class-columns", "--task", "--positive", "--label-separator", "--blank",
        "--uncertain", "--num-classes",
        "--features-dir", "--name", "--overwrite",
    ],
    "predict": [
        *SWITCHES,
        "--run", "--csv", "--images", "--image-root", "--path-column", "--path-prefix",
        "--path-suffix", "--limit", "--weights",
        "--offline", "--device", "--batch-size", "--workers", "--saliency", "--saliency-label",
        "--output", "-o", "--overwrite", "--allow-failures", "--features-dir", "--output-dir",
    ],
    "compare": [
        "runs", "--output-dir", "--labels", "--common-rows", "--format",
        "--output", "-o", "--quiet", "-q", "--debug", "--json", "--config", "--show-config",
    ],
    "init": ["--quiet", "-q", "--debug"],
    "models list": ["--json", "--debug"],
    "models show": ["name", "--json", "--debug"],
    "models check": [
        "name", "--arch", "--pretrained-on", "--weights", "--offline", "--verbose", "-v", "--json",
        "--debug", "--config", "--show-config",
    ],
}  # fmt: skip


def commands() -> dict[str, Any]:
    group: Any = typer.main.get_command(app)
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        below = getattr(command, "commands", None)
        found |= (
            {f"{name} {part}": one for part, one in below.items()} if below else {name: command}
        )
    return found


def names_of(command: Any) -> set[str]:  # noqa: ANN401 - Typer's own copy of click has no types
    return {name for one in command.params for name in [*one.opts, *one.secondary_opts]}


def test_the_commands_are_known() -> None:
    assert set(commands()) == set(OPTIONS) | {"demo"}


@pytest.mark.parametrize("name", OPTIONS)
def test_the_options_of_a_command_are_known(name: str) -> None:
    assert names_of(commands()[name]) == set(OPTIONS[name])


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_has_a_help_text_and_no_negative_twin(name: str) -> None:
    for parameter in commands()[name].params:
        assert parameter.help, parameter.opts
        assert not parameter.secondary_opts


def test_no_option_takes_its_spelling_from_its_metavar() -> None:
    # With typer 0.27 (a GPU machine had it), `metavar="DEVICE"` made the option `--DEVICE`.
    unnamed = {
        info.help
        for alias in vars(options).values()
        for info in get_args(alias)[1:]
        # The first of the names given is, in `Annotated`, where defaults are elsewhere.
        if isinstance(info, OptionInfo) and not isinstance(info.default, str)
    }
    seen = [one for command in commands().values() for one in command.params if one.help in unnamed]
    assert seen
    for one in seen:
        metavar = (one.metavar or "").lower().replace("_", "-")
        assert metavar not in {name.lstrip("-") for name in one.opts}, one.opts


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("embed", EmbedConfig),
        ("probe", ProbeConfig),
        ("finetune", FinetuneConfig),
        ("predict", PredictConfig),
    ],
)
def test_options_and_settings_are_the_same_names(name: str, config: type) -> None:
    settings = {field.name for field in fields(config)} - HIDDEN
    typed = {parameter.name for parameter in commands()[name].params}
    assert typed - {"config", "show_config", "quiet", "verbose", "debug", "as_json"} == settings


def test_what_the_data_section_may_hold_is_an_option_of_some_command() -> None:
    both = {field.name for config in (EmbedConfig, ProbeConfig) for field in fields(config)}
    assert both >= DATA_KEYS - {"subgroup"}
