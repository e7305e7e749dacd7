from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from cxrlearn.errors import UsageError
from cxrlearn.workflows.settings import NamedPath, Setting, convert, resolve_settings


@dataclass(frozen=True, kw_only=True)
class Example:
    class_columns: tuple[str, ...] = ()
    train_csv: Path | None = None
    test_csv: tuple[NamedPath, ...] = ()
    blank: Literal["mask", "zeros"] = "mask"
    batch_size: int = 32
    C: float | Literal["auto"] | None = None
    strict: bool = False


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def resolve(
    given: dict[str, object] | None = None, environment: dict[str, str] | None = None
) -> dict[str, Setting]:
    return resolve_settings(Example, "probe", given or {}, file=None, environment=environment or {})


def test_each_layer_overrides_the_one_below_and_says_where_the_value_is_from(
    tmp_path: Path,
) -> None:
    assert resolve()["batch_size"] == Setting(32, "default")
    Path("cxrlearn.toml").write_text("[probe]\nbatch_size = 8\n")
    assert resolve()["batch_size"] == Setting(8, "cxrlearn.toml [probe]")
    environment = {"CXRLEARN_BATCH_SIZE": "16"}
    assert resolve(None, environment)["batch_size"] == Setting(16, "CXRLEARN_BATCH_SIZE")
    assert resolve({"batch_size": 4}, environment)["batch_size"] == Setting(4, "command line")


@pytest.mark.parametrize("order", [("data", "probe"), ("probe", "data")])
def test_a_command_section_overrides_the_data_section_wherever_it_stands(
    order: tuple[str, str],
) -> None:
    sections = {"data": '[data]\nblank = "zeros"\n', "probe": '[probe]\nblank = "mask"\n'}
    Path("cxrlearn.toml").write_text("".join(sections[name] for name in order))
    assert resolve()["blank"].value == "mask"


def test_paths_of_the_file_are_relative_to_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    file = folder / "cxrlearn.toml"
    file.write_text('[data]\ntrain_csv = "a.csv"\ntest_csv = ["here=b.csv", "c.csv"]\n')
    settings = resolve_settings(Example, "probe", {}, file=file, environment={})
    assert settings["train_csv"].value == folder / "a.csv"
    tests = settings["test_csv"].value
    assert tests == (f"here={folder / 'b.csv'}", str(folder / "c.csv"))
    assert isinstance(tests, tuple)
    assert [(NamedPath(test).name, NamedPath(test).path.name) for test in tests] == [
        ("here", "b.csv"),
        (None, "c.csv"),
    ]


@dataclass(frozen=True, kw_only=True)
class Sources:
    csv: Path | None = None
    images: Path | None = None
    train_csv: Path | None = None
    test_csv: tuple[NamedPath, ...] = ()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ({"images": "films"}, {"images": Path("films")}),
        ({"csv": "all.csv"}, {"csv": Path("all.csv")}),
        ({"test_csv": ("b.csv",)}, {"train_csv": Path("train.csv"), "test_csv": ("b.csv",)}),
        (
            {"images": "films", "csv": "all.csv"},  # for the config to refuse
            {
                "images": Path("films"),
                "csv": Path("all.csv"),
                "train_csv": Path("train.csv"),
                "test_csv": ("a.csv",),
            },
        ),
    ],
)
def test_another_kind_of_source_replaces_those_of_the_file(
    typed: dict[str, object], expected: dict[str, object]
) -> None:
    Path("cxrlearn.toml").write_text('[data]\ntrain_csv = "train.csv"\ntest_csv = "a.csv"\n')
    settings = resolve_settings(Sources, "embed", typed, file=None, environment={})
    assert {key: one.value for key, one in settings.items() if one.value} == expected


def test_an_unknown_key_is_refused_with_a_suggestion() -> None:
    Path("cxrlearn.toml").write_text("[probe]\nbatchsize = 8\n")
    with pytest.raises(
        UsageError, match=r"unknown key 'batchsize' in \[probe\]: did you mean 'batch_size'"
    ):
        resolve()


def test_an_unknown_section_is_refused_with_a_suggestion() -> None:
    Path("cxrlearn.toml").write_text("[prob]\nbatch_size = 8\n")
    with pytest.raises(UsageError, match=r"unknown section 'prob': did you mean 'probe'"):
        resolve()


def test_a_key_outside_a_section_is_refused() -> None:
    Path("cxrlearn.toml").write_text("batch_size = 8\n")
    with pytest.raises(UsageError, match="key outside a section: 'batch_size'"):
        resolve()


def test_a_command_setting_does_not_belong_into_data() -> None:
    Path("cxrlearn.toml").write_text("[data]\nbatch_size = 8\n")
    with pytest.raises(UsageError, match=r"unknown key 'batch_size' in \[data\]"):
        resolve()


def test_all_problems_of_all_layers_are_reported_together() -> None:
    Path("cxrlearn.toml").write_text('[probe]\nbatch_size = "many"\nblnk = "mask"\n')
    with pytest.raises(UsageError) as caught:
        resolve({"blank": "maybe"}, {"CXRLEARN_STRICT": "perhaps"})
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert "--batch-size (cxrlearn.toml [probe]): expected a whole number, got 'many'" in lines
    assert "--blank (command line): expected one of mask, zeros, got 'maybe'" in lines
    assert "--strict (CXRLEARN_STRICT): expected true or false, got 'perhaps'" in lines


def test_broken_toml_names_the_file_and_the_place() -> None:
    Path("cxrlearn.toml").write_text("[probe\n")
    with pytest.raises(UsageError, match=r"cxrlearn\.toml is not valid TOML: .*line 1"):
        resolve()


def test_a_config_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--config: no file .*absent\.toml"):
        resolve_settings(Example, "probe", {}, file=tmp_path / "absent.toml", environment={})


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (("a,b",), ("a", "b")),  # typed once, with a comma
        ("a, b", ("a", "b")),  # environment
        (("a,b", "c"), ("a,b", "c")),  # repeated: names may hold commas
        (["a,b"], ("a,b",)),  # a list of the file is a list already
    ],
)
def test_lists_are_repeated_or_separated_by_commas(raw: object, expected: object) -> None:
    assert convert(raw, tuple[str, ...]) == expected


@pytest.mark.parametrize(("raw", "expected"), [("auto", "auto"), ("0.5", 0.5), (2, 2.0)])
def test_a_number_or_a_word(raw: object, expected: object) -> None:
    assert convert(raw, float | Literal["auto"] | None) == expected


@pytest.mark.parametrize("raw", ["2.5", True, "x", 1.5])
def test_what_is_no_whole_number_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="expected a whole number"):
        convert(raw, int)


@pytest.mark.parametrize(
    ("text", "name", "path"),
    [
        ("test.csv", None, "test.csv"),
        ("outside=other/test.csv", "outside", "other/test.csv"),
        ("data/site=3/test.csv", None, "data/site=3/test.csv"),
        ("site 3=a=b.csv", "site 3", "a=b.csv"),
    ],
)
def test_a_named_path_has_its_name_before_the_first_equals_sign(
    text: str, name: str | None, path: str
) -> None:
    assert (NamedPath(text).name, NamedPath(text).path) == (name, Path(path))
