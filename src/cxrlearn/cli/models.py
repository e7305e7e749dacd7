"""`cxrlearn models`: list, show and check backbones."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cxrlearn.cli import options
from cxrlearn.cli.app import HELPERS, app, guarded
from cxrlearn.cli.console import Terminal
from cxrlearn.cli.streams import shown
from cxrlearn.runtime.words import counted

if TYPE_CHECKING:
    from cxrlearn.backbones.check import CheckReport
    from cxrlearn.backbones.spec import BackboneSpec

models = typer.Typer(help="List, show and check backbones.", no_args_is_help=True)
app.add_typer(models, name="models", rich_help_panel=HELPERS)

Name = Annotated[
    str, typer.Argument(help="Backbone, as `cxrlearn models list` names it.", show_default=False)
]


@models.command("list")
@guarded
def list_models(as_json: options.Json = False, debug: options.Debug = False) -> None:
    """List every backbone with its variants and whether its weights are here."""
    from cxrlearn.backbones.registry import list_specs, plugin_problems

    terminal = Terminal(as_json=as_json)
    specs = list_specs()
    table = Table("name", "variants", "features", box=None, pad_edge=False)
    table.add_column("weights", overflow="fold")  # a file's name is never cut short
    for spec in specs:
        table.add_row(*(shown(cell) for cell in _row(spec)))
    terminal.show(
        table,
        "",
        "Also timm:NAME, torchvision:NAME and hf:REPOSITORY. `cxrlearn models show NAME` tells "
        "more.",
    )
    for problem in plugin_problems():
        terminal.warning(problem)
    terminal.show_json({"models": [_as_json(spec) for spec in specs]})


def _row(spec: BackboneSpec) -> tuple[str, ...]:
    variants = [*spec.archs, *spec.pretrained_ons]
    dims = dict.fromkeys(str(variant.features[0].dim) for variant in spec.variants)
    return spec.name, ", ".join(variants), "/".join(dims), weights_status(spec)


def weights_status(spec: BackboneSpec) -> str:
    """Return in a few words whether the weights of a backbone are here."""
    from cxrlearn.backbones.registry import resolve
    from cxrlearn.backbones.spec import BuilderWeights, LibraryWeights, PackagedFile
    from cxrlearn.backbones.weights import locate
    from cxrlearn.errors import WeightsError

    if isinstance(spec.weights, PackagedFile):
        return _packaged(spec)
    if isinstance(spec.weights, BuilderWeights):
        return "none needed"
    here: list[str] = []
    files: list[str] = []
    for variant in spec.variants:
        resolved = resolve(spec.name, arch=variant.arch, pretrained_on=variant.pretrained_on)
        files += variant.files[:1]
        try:
            path = locate(resolved)
        except WeightsError:
            continue
        here += [] if path is None else [path.name]
    if here:
        return f"here: {', '.join(here)}"
    if isinstance(spec.weights, LibraryWeights):
        return f"downloaded by {spec.weights.library}"
    return "not here" if len(files) > 1 else f"not here: {', '.join(files)}"


def _packaged(spec: BackboneSpec) -> str:
    """Say which package holds the weights, and whether they are there."""
    from cxrlearn.backbones.catalog import CATALOG
    from cxrlearn.backbones.registry import resolve
    from cxrlearn.backbones.weights import locate
    from cxrlearn.errors import WeightsError

    if spec in CATALOG:
        return "in the package"
    source = getattr(spec.weights, "locate", "")
    module = source if isinstance(source, str) else getattr(source, "__module__", "")
    package = module.partition(":")[0].partition(".")[0] or "its plug-in"
    try:
        locate(resolve(spec.name))
    except WeightsError:
        return f"not there, though the package {package} should hold them"
    return f"in the package {package}"


def _as_json(spec: BackboneSpec) -> dict[str, object]:
    return {
        "name": spec.name,
        "aliases": list(spec.aliases),
        "title": spec.title,
        "weights": weights_status(spec),
        "variants": [
            {
                "arch": variant.arch,
                "pretrained_on": variant.pretrained_on,
                "files": list(variant.files),
                "features": [asdict(feature) for feature in variant.features],
                "pretraining_data": list(variant.pretraining_data),
                "sha256": variant.sha256,
            }
            for variant in spec.variants
        ],
    }


@models.command()
@guarded
def show(name: Name, as_json: options.Json = False, debug: options.Debug = False) -> None:
    """Show everything that is known about a backbone."""
    from cxrlearn.backbones.registry import get_spec

    terminal = Terminal(as_json=as_json)
    spec = get_spec(name, notify=terminal.notice)
    table = _facts_table()
    for key, value in _facts(spec):
        table.add_row(f"[bold]{key}[/bold]", escape(value))
    terminal.show(table)
    terminal.show_json(_as_json(spec))


def _facts_table() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # a hash is never cut short
    return table


def _facts(spec: BackboneSpec) -> list[tuple[str, str]]:
    facts = [("name", ", ".join([spec.name, *spec.aliases])), ("what", spec.title)]
    facts += [
        (key, value)
        for key, value in (
            ("architecture", spec.architecture), ("paper", spec.paper), ("code", spec.code),
            ("licence", spec.licence), ("use", spec.use_note),
            ("get weights", getattr(spec.weights, "where", "")),
        )
        if value
    ]  # fmt: skip
    for variant in spec.variants:
        options_given = [f"--arch {variant.arch}"] if variant.arch else []
        options_given += (
            [f"--pretrained-on {variant.pretrained_on}"] if variant.pretrained_on else []
        )
        lines = [
            "features: "
            f"{'; '.join(f'{one.id} ({one.dim}: {one.description})' for one in variant.features)}",
            f"file: {' or '.join(variant.files)}" if variant.files else "",
            f"pretrained on: {', '.join(variant.pretraining_data)}"
            if variant.pretraining_data
            else "",
            f"sha256: {variant.sha256 or 'none is published'}" if variant.files else "",
        ]
        facts.append(
            (" ".join(options_given) or "weights", "\n".join(line for line in lines if line))
        )
    for rule in spec.preprocessings:
        facts.append((f"pixels: {rule.name}", f"{rule.in_words()}\n{rule.source}"))
    return facts


@models.command()
@guarded
def check(
    context: typer.Context,
    name: Name,
    arch: options.Arch = None,
    pretrained_on: options.PretrainedOn = None,
    weights: options.Weights = None,
    offline: options.Offline = None,
    config: options.Config = None,
    show_config: options.ShowConfig = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="List every key.")] = False,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Load the weights of a backbone and account for every key in the file.

    Settings are those of [embed] in cxrlearn.toml, where it names no other backbone.
    """
    from cxrlearn.cli.settings import build_config
    from cxrlearn.workflows.check_config import CheckConfig, run_check

    terminal = Terminal(as_json=as_json)
    settings = build_config(CheckConfig, "models", context, terminal, os.environ)
    report = run_check(settings, terminal)
    _render_check(report, terminal, verbose=verbose)
    terminal.show_json(
        {
            "name": report.resolved.name,
            "arch": report.resolved.arch,
            "pretrained_on": report.resolved.pretrained_on,
            "file": None if report.path is None else str(report.path),
            "sha256": report.sha256,
            "verification": report.verification,
            "form": report.account.form,
            "parameters": report.parameters,
            "keys": [asdict(key) for key in report.account.keys],
            "features": {one.feature.id: one.problem for one in report.features},
        }
    )


def _render_check(report: CheckReport, terminal: Terminal, *, verbose: bool) -> None:
    account = report.account
    table = _facts_table()
    loaded = sum(key.role == "loaded" for key in account.keys)
    rows = []
    if report.path is not None:
        rows += [
            ("file", str(report.path)),
            ("sha256", f"{report.sha256} ({report.verification})"),
        ]
    rows.append(("form", account.form))
    if loaded:
        needed = "tensors, all that the network needs"
        rows.append(("loaded", f"{loaded} {needed}; {report.parameters:,} parameters"))
    dropped = Counter(key.detail for key in account.keys if key.role == "dropped")
    rows += [("dropped", f"{counted(count, 'key')}: {why}") for why, count in dropped.items()]
    rows += [
        (
            "feature",
            f"{one.feature.id} ({one.feature.dim})" + (f": {one.problem}" if one.problem else ""),
        )
        for one in report.features
    ]
    if verbose:
        rows += [(key.role, f"{key.key}: {key.detail}") for key in account.keys]
    for key, value in rows:
        table.add_row(f"[bold]{key}[/bold]", escape(value))
    terminal.show(table, "The weights load." if loaded else "The backbone loads.")
