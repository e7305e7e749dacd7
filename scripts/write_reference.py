"""Write the two reference pages that are derived from the code, or check that they are current.

    python scripts/write_reference.py            # rewrite docs/reference/{backbones,cli}.md
    python scripts/write_reference.py --check    # exit 1 if a page is not what the code says

backbones.md comes from the catalogue, cli.md from the Typer commands and the config dataclasses.
Plug-ins that happen to be installed are left out, so the pages are the same everywhere.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import typer

from cxrlearn.backbones.catalog import CATALOG
from cxrlearn.backbones.records.rules import ORIGINAL
from cxrlearn.backbones.spec import FileWeights, LibraryWeights, PackagedFile
from cxrlearn.cli import compare, demo, embed, finetune, init, models, predict, probe
from cxrlearn.cli.app import app
from cxrlearn.workflows.compare import CompareConfig
from cxrlearn.workflows.embed_config import EmbedConfig
from cxrlearn.workflows.finetune_config import FinetuneConfig
from cxrlearn.workflows.predict_config import PredictConfig
from cxrlearn.workflows.probe_config import ProbeConfig
from cxrlearn.workflows.settings import DATA_KEYS, HIDDEN, PREFIX, NamedPath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cxrlearn.backbones.spec import BackboneSpec, Preprocessing, Variant

COMMAND_MODULES = (embed, probe, finetune, predict, compare, demo, init, models)
"""Importing them registers the commands."""
CONFIGS: dict[str, type] = {
    "embed": EmbedConfig,
    "probe": ProbeConfig,
    "finetune": FinetuneConfig,
    "predict": PredictConfig,
}
"""The commands that take settings."""
FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
MARK = "<!-- Written by scripts/write_reference.py: edit {source}, then run it. -->"
_DEFAULT = re.compile(r"\s*\[default: (.*)\]$")

BACKBONES_TOP = """\
# Backbones

{mark}

What `cxrlearn models show NAME` says, for every backbone that cxrlearn knows by name. [Get weights](../how-to/get-weights.md)
says where to put the files, [add a backbone](../how-to/add-a-backbone.md) how to add one.

A feature is named first where it is the default: what the model's authors transfer. So is a preprocessing rule, and so are
values of `--arch` and `--pretrained-on`. "Hash" says whether the authors publish one; where they do not, reports print the
hash of your file and "not verified: no published hash". Sources name the commit that was read.

## The rule `original`

`--preprocessing original` selects it for any backbone below: {rule}.

{source}
"""  # noqa: E501 - prose

BACKBONES_END = """\
## timm:NAME, torchvision:NAME, hf:REPOSITORY

Any image network of these libraries; they download the weights into their own cache, which is announced and never happens
under `--offline`. Their features are pooled, before any classifier.

| name | what | preprocessing |
| --- | --- | --- |
| `timm:resnet50.a1_in1k` | a model of timm | timm's data config of these weights |
| `torchvision:resnet18` | a classification model of torchvision, with its default weights | `transforms()` of these weights |
| `hf:microsoft/rad-dino` | a vision model of a Hugging Face repository, or of its folder given with `--weights` | its image processor |

`cxrlearn models show timm:resnet50.a1_in1k` shows feature and rule without loading the weights.
"""  # noqa: E501 - table rows

CLI_TOP = """\
# Command line and settings

{mark}

## Where a setting comes from

From four places; each one overrides those before it:

1. **default**, as the tables below say;
2. **file**: `cxrlearn.toml` in the working directory, or the one named with `--config`; `cxrlearn init` writes one;
3. **environment**: `CXRLEARN_` and the key in capitals; an empty variable counts as not set;
   one variable serves every command that has the key;
4. **command line**.

`--show-config` prints the settings in force, each with its origin, and stops. `models check NAME` reads `[embed]` where that
names no other backbone.

### Which backbone

`model`, `arch`, `pretrained_on`, `features`, `weights`, `preprocessing`, `random_weights`, `precision` and `store` are one choice.
`probe` and `finetune` take it from the first place that names a model: the command line, the environment, their own section,
`[embed]`, the only file in the features folder. Nothing of the choice of another place is mixed in; a place that names no
model, or lists several, refines the choice (`cxrlearn probe --precision fp32`). The run says which backbone was taken, from
where, and what was passed over; `settings.toml` of the run has it under `backbone_from`. Where no place names one model, the
command ends with exit code 2 and lists the feature files.

### Settings without effect

An option that does nothing in a run is refused (`--k` without `--knn`, `--weights NAME=FILE` of another backbone). A key of
the file or a variable that does nothing is named in a warning and left out, because a file may serve several probes. So is a
variable that starts with `CXRLEARN_` and is no setting. All faults of settings, manifests and weights are told in one message.

### Sections of cxrlearn.toml

| section | read by | keys |
| --- | --- | --- |
{sections}

The keys of `[data]` say what the data are, for every command; a command passes over those that it has no option for.
Any other section or key is an error that names the nearest one known. Paths in the file are relative to the file,
paths elsewhere to the working directory.

Sources of images come in three kinds: `csv`; `images`; `train_csv`, `val_csv` and `test_csv`. A kind given at a higher
place replaces the others of lower places, so `--images DIR` works beside a file that names CSVs.

### Values

- **Lists** ({lists}): in the file `["a", "b"]` or `"a,b"`; in the environment `a,b`; on the command line
  `--class-columns a,b`, or the option repeated. A name that holds a comma: a list in the file, or a repeated option.
- **Files with a name** ({named}): `NAME=FILE`. For `--test-csv` the name is that of the test set, for `--weights`
  that of the backbone the file is for.
- **Switches** ({switches}): `true` or `false` in file and environment; typing the option means true.
- `$CXRLEARN_WEIGHTS_DIR` is not a setting of a command: it is a folder in which every command looks for weight files.

Exit codes are in [errors and exit codes](errors-and-exit-codes.md).
"""  # noqa: E501 - prose


def backbones_page() -> str:
    """Return docs/reference/backbones.md."""
    top = BACKBONES_TOP.format(
        mark=MARK.format(source="the records in src/cxrlearn/backbones"),
        rule=ORIGINAL.in_words(),
        source=ORIGINAL.source,
    )
    return "\n".join([top, *map(_record, CATALOG), BACKBONES_END])


def _record(spec: BackboneSpec) -> str:
    aliases = (
        f" Alias: {', '.join(f'`{alias}`' for alias in spec.aliases)}." if spec.aliases else ""
    )
    parts = [f"## {spec.name}"]
    for heading, text in (
        ("What", f"{_sentence(spec.title)} {_sentence(spec.architecture)}{aliases}"),
        ("Weights", _weights(spec)),
        ("Variants", _variants(spec)),
        ("Features", _features(spec)),
        ("Preprocessing", "\n".join(map(_rule, spec.preprocessings))),
        ("Pretraining data", _by_variant(spec, lambda one: ", ".join(one.pretraining_data))),
        ("Licence", _sentence(spec.licence)),
        ("Paper and code", f"{_sentence(spec.paper)} {_sentence(_linked(spec.code))}"),
        ("Use", spec.use_note or "No note."),
        ("Hash", _by_variant(spec, _hash)),
    ):
        parts.append(f"### {heading}\n\n{text}")
    return "\n\n".join(parts) + "\n"


def _sentence(text: str) -> str:
    text = text or "not stated"
    first = text.split(maxsplit=1)[0].rstrip(":;,")
    start = text[0].upper() if first.isalpha() else text[0]  # a path or a name stays as it is
    return start + text[1:] + ("" if text.endswith(".") or "://" in text[-60:] else ".")


def _linked(text: str) -> str:
    return re.sub(r"https://\S+?(?=[;,)]?(\s|$))", lambda found: f"<{found[0]}>", text)


def _weights(spec: BackboneSpec) -> str:
    source = spec.weights
    files = _by_variant(spec, lambda one: " or ".join(f"`{name}`" for name in one.files))
    if isinstance(source, FileWeights):
        return f"{files}\n\nWhere to get it: {_linked(source.where)}."
    if isinstance(source, LibraryWeights):
        return (
            f"Downloaded by {source.library} ({source.entry}), or a file that lies where weights "
            f"are looked for: {files}"
        )
    if isinstance(source, PackagedFile):
        return f"In the package: {files}"
    return "None needed."


def _by_variant(spec: BackboneSpec, text: Callable[[Variant], str]) -> str:
    """Return what `text` says of every variant: once where all agree, else a line each."""
    said = {_options(one): text(one) for one in spec.variants}
    if len(set(said.values())) == 1:
        return _sentence_if_words(next(iter(said.values())))
    return "\n".join(f"- {options}: {value}" for options, value in said.items())


def _sentence_if_words(text: str) -> str:
    return text if text.endswith(("`", ".")) else f"{text}."


def _options(variant: Variant) -> str:
    pairs = (("--arch", variant.arch), ("--pretrained-on", variant.pretrained_on))
    return " ".join(f"`{option} {value}`" for option, value in pairs if value)


def _variants(spec: BackboneSpec) -> str:
    if len(spec.variants) == 1:
        return _options(spec.variants[0]) + " only." if spec.archs else "One."
    choices = (_choice("--arch", spec.archs), _choice("--pretrained-on", spec.pretrained_ons))
    return " ".join(filter(None, choices))


def _choice(option: str, values: tuple[str, ...]) -> str:
    return f"`{option}` {' or '.join(f'`{value}`' for value in values)}." if values else ""


def _features(spec: BackboneSpec) -> str:
    rows: dict[tuple[str, str], dict[str, None]] = {}
    for variant in spec.variants:
        for feature in variant.features:
            dims = rows.setdefault((feature.id, feature.description), {})
            several = f" ({variant.arch})" if len(spec.archs) > 1 else ""
            dims[f"{feature.dim}{several}"] = None
    lines = [f"| `{name}` | {_joined(dims)} | {what} |" for (name, what), dims in rows.items()]
    return "\n".join(["| `--features` | values | what |", "| --- | --- | --- |", *lines])


def _joined(dims: Iterable[str]) -> str:
    values = list(dims)
    plain = {value.partition(" ")[0] for value in values}
    return plain.pop() if len(plain) == 1 else ", ".join(values)


def _rule(rule: Preprocessing) -> str:
    if rule == ORIGINAL:
        return "- `original`: [the original benchmark's rule](#the-rule-original)."
    return f"- `{rule.name}`: {rule.in_words()}.\n  Source: {rule.source}"


def _hash(variant: Variant) -> str:
    if variant.sha256 is None:
        return "None is published"
    if len(variant.sha256) == 64:
        return f"SHA-256 `{variant.sha256}`"
    return f"The published SHA-256 begins with `{variant.sha256}`"


def cli_page() -> str:
    """Return docs/reference/cli.md."""
    hints = [pair for one in CONFIGS.values() for pair in get_type_hints(one).items()]
    shown = [(key, hint) for key, hint in hints if key not in HIDDEN]
    top = CLI_TOP.format(
        mark=MARK.format(source="src/cxrlearn/cli/options.py and the commands beside it"),
        sections="\n".join(_sections()),
        lists=_keys(key for key, hint in shown if get_origin(hint) is tuple),
        named=_keys(key for key, hint in shown if get_args(hint)[:1] == (NamedPath,)),
        switches=_keys(key for key, hint in shown if hint is bool),
    )
    return "\n".join([top, *_command_sections()])


def _keys(keys: Iterable[str]) -> str:
    return ", ".join(f"`{key}`" for key in dict.fromkeys(keys))


def config_keys(command: str) -> tuple[str, ...]:
    """Return the settings of a command, in the order of its config."""
    return tuple(field.name for field in fields(CONFIGS[command]) if field.name not in HIDDEN)


def _sections() -> Iterator[str]:
    data = dict.fromkeys(key for name in CONFIGS for key in config_keys(name) if key in DATA_KEYS)
    yield f"| `[data]` | {_keys(CONFIGS)} | {_keys(data)} |"
    for name in CONFIGS:
        own = [key for key in config_keys(name) if key not in DATA_KEYS]
        also = f"those of `[data]` that `{name}` has an option for"
        yield f"| `[{name}]` | `{name}` | {_keys(own)}; {also} |"
    yield f"| `[compare]` | `compare` | {_keys(one.name for one in fields(CompareConfig))} |"


def commands() -> dict[str, Any]:
    """Return every command by its full name, such as `embed` and `models list`."""
    root: Any = typer.main.get_command(app)
    found: dict[str, Any] = {}
    for name, command in root.commands.items():
        inner = getattr(command, "commands", None)
        found |= {f"{name} {sub}": one for sub, one in inner.items()} if inner else {name: command}
    order = [name for name in ("embed", "probe", "finetune", "demo", "init") if name in found]
    return {name: found[name] for name in (*order, *sorted(set(found) - set(order)))}


def _command_sections() -> Iterator[str]:
    for name, command in commands().items():
        parts = [
            f"## cxrlearn {name}",
            inspect.cleandoc(command.help).partition("For example:")[0].strip(),
        ]
        arguments = [one for one in command.params if not hasattr(one, "is_flag")]
        parts += [f"Argument `{one.name.upper()}`: {one.help}" for one in arguments]
        parts += _panels(name, [one for one in command.params if hasattr(one, "is_flag")])
        yield "\n\n".join(parts) + "\n"


def _panels(name: str, options: list[Any]) -> Iterator[str]:
    settings = name in CONFIGS
    panels: dict[str, list[Any]] = {}
    for option in options:
        if option.name != "help":
            panel = option.rich_help_panel or "Options"
            panels.setdefault(panel if settings else "Options", []).append(option)
    for panel, members in panels.items():
        head = ["option", "meaning", "default", *(["key", "environment"] if settings else [])]
        rows = [head, ["---"] * len(head), *(_option_row(name, one) for one in members)]
        title = [f"### {panel}"] if settings else []
        yield "\n\n".join([*title, "\n".join(f"| {' | '.join(row)} |" for row in rows)])


def _option_row(command: str, option: Any) -> list[str]:  # noqa: ANN401 - Typer's own class
    text, default = meaning_and_default(option.help)
    if option.is_flag:
        default = default or "off"
    names = ", ".join(f"`{name}`" for name in option.opts)
    typed = names if option.is_flag else f"{names} `{option.metavar}`"
    row = [typed, text, default or "not set"]
    if command not in CONFIGS:
        return [_cell(cell) for cell in row]
    if option.name in config_keys(command):
        section = "data" if option.name in DATA_KEYS else command
        row += [f"`[{section}]` `{option.name}`", f"`{PREFIX}{option.name.upper()}`"]
    else:
        row += ["", ""]
    return [_cell(cell) for cell in row]


def meaning_and_default(help_text: str) -> tuple[str, str]:
    """Split a help text into what an option means and its default, "" where none is stated."""
    text = help_text.replace(r"\[", "[")
    found = _DEFAULT.search(text)
    return (text[: found.start()], found[1]) if found else (text, "")


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


PAGES = {"backbones.md": backbones_page, "cli.md": cli_page}
"""File in docs/reference -> what writes it."""


def main(arguments: list[str] | None = None) -> int:
    """Write or check the pages; return the exit code."""
    parser = argparse.ArgumentParser(description="Write docs/reference/{backbones,cli}.md.")
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 if a page is stale"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the pages are")
    options = parser.parse_args(arguments)
    stale = []
    for name, page in PAGES.items():
        path, text = options.folder / name, page()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not options.check:
            path.write_text(text, encoding="utf-8")
    print(f"{'stale' if options.check else 'written'}: {', '.join(stale) or 'none'}")
    return int(options.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
