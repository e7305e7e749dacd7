"""What the documents show is true: examples run, commands parse, settings and links exist."""

from __future__ import annotations

import doctest
import re
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cxrlearn.backbones.catalog import CATALOG
from cxrlearn.backbones.load import LoadOptions, load_resolved
from cxrlearn.backbones.registry import PREFIXES, resolve
from cxrlearn.backbones.spec import ResolvedBackbone
from cxrlearn.cli.app import app
from cxrlearn.cli.options import given
from cxrlearn.data.synthetic.dataset import write_demo_dataset
from cxrlearn.reports.predictions import Predictions, predictions_file, predictions_text
from cxrlearn.workflows.embed_config import EmbedConfig
from cxrlearn.workflows.finetune_config import FinetuneConfig
from cxrlearn.workflows.probe_config import ProbeConfig
from cxrlearn.workflows.settings import SECTIONS, resolve_settings
from tests.support.documents import (
    DOCUMENTS,
    blocks,
    command_lines,
    fences,
    inline_code,
    known_options,
    parse,
    prose,
    title,
)
from tests.support.tiny_backbone import make_image

if TYPE_CHECKING:
    from pathlib import Path

CONFIGS: dict[str, type] = {
    "embed": EmbedConfig,
    "probe": ProbeConfig,
    "finetune": FinetuneConfig,
}
SWITCHES = {"config", "show_config", "quiet", "debug", "as_json", "verbose"}
TEXTS = {title(path): path.read_text(encoding="utf-8") for path in DOCUMENTS}
PLUGIN_NAMES = {"efficientnet-lite0", "pixels-32", "my-net"}
COMMANDS = [(name, line) for name, text in TEXTS.items() for line in command_lines(text)]


def python_blocks(text: str) -> list[str]:
    return [fence.body for fence in fences(text) if fence.language == "python"]


# --- Python examples


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the examples expect it: images, CSVs, features, and predictions of three runs."""
    folder = tmp_path_factory.mktemp("study")
    write_demo_dataset(folder, n_images=12)
    make_image(folder / "film.png", 0, size=(240, 200))
    arguments = ["embed", "-m", "cxr-tiny", "--workers", "0", "--device", "cpu", "--quiet"]
    for split in ("train", "val", "test"):
        arguments += [f"--{split}-csv", str(folder / f"{split}.csv")]
    result = CliRunner().invoke(app, [*arguments, "--output-dir", str(folder / "features")])
    assert result.exit_code == 0, result.output
    for seed, name in enumerate(("cxr-tiny", "efficientnet-lite0", "pixels-32")):
        run = folder / "runs" / f"{name}-logreg"
        run.mkdir(parents=True)
        text = predictions_text(made_up_predictions(seed))
        (run / predictions_file("test")).write_text(text, encoding="utf-8")
    return folder


def made_up_predictions(seed: int) -> Predictions:
    names = tuple(f"{number}.png" for number in range(60))
    values = (np.arange(60)[:, None] % np.array([2, 3]) == 0).astype(np.int8)
    logits = np.random.default_rng(seed).normal(size=(60, 2))
    patients = tuple(f"P{number // 2}" for number in range(60))
    return Predictions(
        names, patients, ("A", "B"), values, np.ones((60, 2), bool), logits, np.full((60, 2), 0.5)
    )


def run_blocks(sources: list[str], name: str) -> dict[str, Any]:
    """Run the blocks of a document in order; those with prompts must print what they show."""
    names: dict[str, Any] = {"__name__": "example"}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    said: list[str] = []
    for number, source in enumerate(sources):
        where = f"{name}, Python block {number + 1}"
        if ">>>" in source:
            test = doctest.DocTestParser().get_doctest(source, {}, where, name, 0)
            test.globs = names
            runner.run(test, out=said.append, clear_globs=False)
        else:
            exec(compile(source, where, "exec"), names)  # noqa: S102 - the documents are ours
    assert runner.summarize(verbose=False).failed == 0, "".join(said)
    return names


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, text in TEXTS.items() if python_blocks(text)])
def test_python_examples_run(name: str, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study)
    run_blocks(python_blocks(TEXTS[name]), name)


def test_an_example_that_shows_another_output_fails() -> None:
    with pytest.raises(AssertionError, match="Expected"):
        run_blocks([">>> 1 + 1\n3\n"], "sums.md")


@pytest.mark.slow
def test_the_plug_in_of_the_how_to_loads_a_file_of_its_form(tmp_path: Path) -> None:
    name = "docs/how-to/add-a-backbone.md"
    made = run_blocks(python_blocks(TEXTS[name]), name)
    spec = replace(made["MY_NET"], builder=made["build"])
    state = {f"encoder.{key}": value for key, value in made["build"](None).state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "my_net.pt")
    variant = spec.variants[0]
    choice = ResolvedBackbone(spec, variant, variant.features[0], spec.preprocessings[0])
    backbone = load_resolved(choice, LoadOptions(weights=tmp_path))
    assert backbone(torch.zeros(1, 3, 224, 224)).shape == (1, 512)


# --- Command lines and settings


@pytest.mark.parametrize(("name", "line"), COMMANDS, ids=[f"{n}:{line}" for n, line in COMMANDS])
def test_every_command_shown_parses(
    name: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = parse(line)
    if command is None:
        return
    typed = given({k: v for k, v in command.parameters.items() if k not in SWITCHES})
    if command.name in CONFIGS:
        config = CONFIGS[command.name]
        resolve_settings(config, command.name, typed, file=None, environment={})
    if command.name.startswith("models ") and "name" in typed:
        typed["model"] = typed["name"]
    for backbone in backbones_named(typed):
        check_backbone(backbone, typed)


def backbones_named(typed: dict[str, object]) -> list[str]:
    named = typed.get("model", ())
    return [named] if isinstance(named, str) else [str(name) for name in named]  # type: ignore[attr-defined]


def check_backbone(name: str, typed: dict[str, object]) -> None:
    """Fail if a document names a backbone, or a choice of it, that is not there."""
    prefix, colon, _ = name.partition(":")
    if colon:
        assert prefix in PREFIXES
    elif name not in PLUGIN_NAMES | {"all", "NAME", "X"}:
        keys = ("arch", "pretrained_on", "features", "preprocessing")
        resolve(name, **{key: typed[key] for key in keys if key in typed})  # type: ignore[arg-type]


def test_commands_are_found_in_the_documents_and_a_wrong_one_is_refused() -> None:
    assert len(COMMANDS) > 30
    assert parse("cxrlearn embed --model chexzero") is not None
    with pytest.raises(Exception, match=r"[Nn]o such option"):
        parse("cxrlearn embed --modle chexzero")


@pytest.mark.parametrize("name", TEXTS)
def test_every_option_mentioned_exists(name: str) -> None:
    """The original's have underscores; those of pip, SLURM and the scripts are listed here."""
    others = {"--no-deps", "--check", "--cov", "--quick", "--output", "--signal", "--gpus-per-task"}
    later = {"--standardize", "--solver"}
    mentioned = {
        code.split()[0].partition("=")[0]
        for code in inline_code(TEXTS[name])
        if code.startswith("--")
    }
    plain = {option for option in mentioned if "_" not in option}
    assert plain - known_options() - others - later == set()


@pytest.mark.parametrize("name", [n for n, text in TEXTS.items() if "```toml" in text])
def test_every_settings_example_is_understood(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for fence in fences(TEXTS[name]):
        if fence.language != "toml" or not set(tomllib.loads(fence.body)) & set(SECTIONS):
            continue
        (tmp_path / "cxrlearn.toml").write_text(fence.body, encoding="utf-8")
        for command, config in CONFIGS.items():
            resolve_settings(config, command, {}, file=None, environment={})


# --- Links and numbers


@pytest.mark.parametrize("name", TEXTS)
def test_every_link_inside_the_repository_leads_somewhere(name: str) -> None:
    path = next(one for one in DOCUMENTS if title(one) == name)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(TEXTS[name])):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        place = path.parent / file if file else path
        if not place.exists() or (anchor and anchor not in anchors(place)):
            broken.append(target)
    assert broken == []


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


PUBLISHED = [
    name for spec in CATALOG if spec.name != "cxr-tiny" for name in (spec.name, *spec.aliases)
]
_NAMED = re.compile(rf"(?<![\w/:.-])({'|'.join(map(re.escape, PUBLISHED))})(?!\w)", re.IGNORECASE)
_ABOUT = re.compile(r"AUROC|macro|\d \[[-+]?0?\.\d", re.IGNORECASE)
_RESULT = re.compile(r"(?<![\w.])0?\.[5-9]\d{1,3}(?!\d)")


def published_results(text: str) -> list[str]:
    """Return the blocks that put an AUROC beside the name of a published backbone."""
    return [
        block
        for block in blocks(text)
        if _NAMED.search(block) and _RESULT.search(block) and _ABOUT.search(block)
    ]


@pytest.mark.parametrize("name", TEXTS)
def test_no_result_stands_beside_a_published_backbone(name: str) -> None:
    """Tests run them on made-up weights: such numbers must not pass for results."""
    assert published_results(TEXTS[name]) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("| chexzero | 0.859 [0.840, 0.875] |", True),
        ("```\ngloria-resnet18 on test: AUROC\nEdema  0.61 [0.5, 0.7]\n```\n", True),
        ("MoCo-CXR reaches an AUROC of 0.81.", True),
        ("| cxr-tiny | 0.859 [0.840, 0.875] |", False),
        ("chexzero: minus 0.48145466, over 0.26862954", False),
        ("`chexzero`: [best_64_5e-05_original_22000_0.864.pt](x)", False),
    ],
)
def test_a_result_is_told_from_other_numbers(text: str, found: bool) -> None:  # noqa: FBT001
    assert bool(published_results(text)) is found
