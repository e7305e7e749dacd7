from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cxrlearn.backbones.registry import resolve
from cxrlearn.errors import UsageError, WeightsError
from cxrlearn.workflows.embed_config import EmbedConfig
from cxrlearn.workflows.settings import NamedPath
from cxrlearn.workflows.targets import expand_models, given_weights, resolve_target


@pytest.fixture(autouse=True)
def no_weights_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CXRLEARN_WEIGHTS_DIR", raising=False)


def config(**settings: Any) -> EmbedConfig:  # noqa: ANN401
    return EmbedConfig(model=("cxr-tiny",), images=Path(), **settings)


def test_a_target_knows_its_weights_its_fingerprint_and_its_file() -> None:
    target = resolve_target("cxr-tiny", config(), Path("features"))
    assert target.file == Path("features/cxr-tiny.h5")
    assert target.fingerprint.weights.startswith("sha256:")
    assert target.fingerprint.dim == 496


@pytest.mark.parametrize(
    "settings",
    [
        {"intensity": "minmax"},
        {"precision": "fp16"},
        {"preprocessing": "original"},
        {"random_weights": 3},
    ],
)
def test_what_changes_the_numbers_changes_file_and_fingerprint(settings: dict[str, Any]) -> None:
    plain = resolve_target("cxr-tiny", config(), Path())
    other = resolve_target("cxr-tiny", config(**settings), Path())
    assert other.file != plain.file
    assert other.fingerprint.digest != plain.fingerprint.digest


def test_what_changes_no_number_changes_nothing() -> None:
    plain = resolve_target("cxr-tiny", config(), Path())
    for settings in (
        {"batch_size": 3},
        {"workers": 0},
        {"device": "cpu"},
        {"preprocessing": "published"},
    ):
        other = resolve_target("cxr-tiny", config(**settings), Path())
        assert (other.file, other.fingerprint) == (plain.file, plain.fingerprint)


def test_random_weights_need_no_file_and_another_seed_is_another_file() -> None:
    targets = [resolve_target("resnet", config(random_weights=seed), Path()) for seed in (1, 2)]
    assert targets[0].weights is None
    assert targets[0].tag != targets[1].tag
    assert all("random" in target.tag for target in targets)


def test_weights_are_given_by_name_or_for_all() -> None:
    resolved = resolve("chexzero")

    def given(*weights: str) -> Path | None:
        return given_weights(resolved, "cxr-repair", tuple(map(NamedPath, weights)))

    assert given() is None
    assert given("a.pt") == Path("a.pt")
    assert given("convirt=b.pt") is None
    assert given("a.pt", "chexzero=c.pt", "convirt=b.pt") == Path("c.pt")
    assert given("cxr-repair=d.pt") == Path("d.pt")
    with pytest.raises(UsageError, match="2 files are meant for cxr-repair"):
        given("a.pt", "b.pt")


def test_a_file_given_by_hand_is_hashed_into_the_tag(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.pt").write_bytes(name.encode())
    tags = [
        resolve_target("chexzero", config(weights=(NamedPath(f"{name}.pt"),)), Path()).tag
        for name in ("one", "two")
    ]
    assert tags[0] != tags[1]
    assert all(tag.startswith("chexzero") for tag in tags)


def test_all_means_every_backbone_whose_weights_are_here(tmp_path: Path) -> None:
    assert expand_models(("all",), config()) == ("cxr-tiny",)
    assert expand_models(("resnet", "all", "cxr-tiny"), config()) == ("resnet", "cxr-tiny")
    assert expand_models(("b", "a", "b"), config()) == ("b", "a")
    (tmp_path / "pretrained").mkdir()
    (tmp_path / "pretrained" / "chexzero.pt").touch()
    assert set(expand_models(("all",), config())) == {"cxr-tiny", "chexzero"}


def test_missing_weights_and_unknown_names() -> None:
    with pytest.raises(WeightsError, match=r"no weights for chexzero.*looked for chexzero\.pt"):
        resolve_target("chexzero", config(), Path())
    with pytest.raises(WeightsError, match="Did you mean 'cxr-tiny'"):
        resolve_target("cxr-tny", config(), Path())
