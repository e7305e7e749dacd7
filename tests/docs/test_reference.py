"""The generated reference pages say what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from cxrlearn.backbones.catalog import CATALOG
from cxrlearn.workflows.settings import DATA_KEYS

ROOT = Path(__file__).resolve().parents[2]


def load_script() -> Any:  # noqa: ANN401 - a module
    place = importlib.util.spec_from_file_location(
        "write_reference", ROOT / "scripts/write_reference.py"
    )
    assert place is not None
    assert place.loader is not None
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    return module


SCRIPT = load_script()


@pytest.mark.parametrize("name", SCRIPT.PAGES)
def test_the_committed_page_is_what_the_code_says(name: str) -> None:
    committed = (ROOT / "docs/reference" / name).read_text(encoding="utf-8")
    assert committed == SCRIPT.PAGES[name](), "run: python scripts/write_reference.py"


def test_check_tells_a_stale_page_and_leaves_it_alone(tmp_path: Path) -> None:
    assert SCRIPT.main(["--folder", str(tmp_path)]) == 0
    assert SCRIPT.main(["--folder", str(tmp_path), "--check"]) == 0
    page = tmp_path / "cli.md"
    page.write_text("old", encoding="utf-8")
    assert SCRIPT.main(["--folder", str(tmp_path), "--check"]) == 1
    assert page.read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize("command", SCRIPT.CONFIGS)
def test_every_setting_has_an_option_and_every_option_a_setting_or_no_key(command: str) -> None:
    options = {one.name for one in SCRIPT.commands()[command].params}
    switches = {"config", "show_config", "quiet", "verbose", "debug", "as_json", "help"}
    assert options - switches == set(SCRIPT.config_keys(command))


def test_every_data_key_is_a_setting_of_some_command() -> None:
    known = {key for command in SCRIPT.CONFIGS for key in SCRIPT.config_keys(command)}
    assert known >= DATA_KEYS


@pytest.mark.parametrize("command", SCRIPT.CONFIGS)
def test_the_default_in_a_help_text_is_the_config_s(command: str) -> None:
    """Compare where the config's default is a plain value; None and -1 are said in words."""
    config = SCRIPT.CONFIGS[command]
    worded = {"precision", "output_dir", "workers"}
    compared = 0
    for option in SCRIPT.commands()[command].params:
        default = getattr(config, option.name, None)
        plain = isinstance(default, (int, float, str, Path)) and not isinstance(default, bool)
        if option.name in set(get_type_hints(config)) - worded and plain:
            stated = SCRIPT.meaning_and_default(option.help)[1]
            same = float(stated) if isinstance(default, float) else stated  # 1e-3 is 0.001
            assert str(same) == str(default), option.name
            compared += 1
    assert compared >= 4


def test_every_backbone_has_the_same_headings() -> None:
    page = (ROOT / "docs/reference/backbones.md").read_text(encoding="utf-8")
    sections = {part.partition("\n")[0]: part for part in page.split("\n## ")[1:]}
    headings = {
        spec.name: [line for line in sections[spec.name].splitlines() if line.startswith("### ")]
        for spec in CATALOG
    }
    assert len(set(map(tuple, headings.values()))) == 1
    assert len(headings["chexzero"]) == 10


def test_help_shows_defaults_in_brackets() -> None:
    """Rich takes `[default: 1]` for a style and drops it, unless it is escaped."""
    from typer.testing import CliRunner

    from cxrlearn.cli.app import app

    shown = CliRunner().invoke(app, ["probe", "--help"], env={"COLUMNS": "200"}).output
    assert "[default: 500]" in shown
    assert "[default: mask]" in shown


def test_a_rule_in_words_names_every_step_in_order() -> None:
    rules = {rule.name: rule for spec in CATALOG for rule in spec.preprocessings[1:]}
    assert rules["cxr-repair-chexpert"].in_words() == (
        "longer side to 320 (lanczos, both sides truncated); black borders to a square of 320; "
        "values 0..255, minus 129.4185, over 73.3378; "
        "then the tensor to 224 (bicubic, not antialiased)"
    )
    assert rules["imagenet-norm"].in_words() == (
        "shorter side to 320 (bilinear); centre crop 320; "
        "values 0..1, minus 0.485, 0.456, 0.406, over 0.229, 0.224, 0.225"
    )
