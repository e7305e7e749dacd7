"""Weight files are found where the help says, and a missing one is explained."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from cxrlearn.backbones.registry import resolve
from cxrlearn.backbones.spec import BuilderWeights, PackagedFile
from cxrlearn.backbones.weights import (
    content_hash,
    file_sha256,
    identity,
    load_reference,
    locate,
    verification,
)
from cxrlearn.errors import WeightsError

PUBLISHED = "moco-cxr_resnet18.pth.tar"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Three folders: given, the variable's, and ./pretrained; the file is in none of them yet."""
    work = tmp_path / "work"
    folders = {name: tmp_path / name for name in ("given", "variable")}
    folders["local"] = work / "pretrained"
    for folder in folders.values():
        folder.mkdir(parents=True)
    monkeypatch.chdir(work)
    monkeypatch.setenv("CXRLEARN_WEIGHTS_DIR", str(folders["variable"]))
    return folders


def _put(folder: Path, name: str = PUBLISHED) -> Path:
    path = folder / name
    path.write_bytes(b"x")
    return path


def test_given_folder_then_variable_then_pretrained(places: dict[str, Path]) -> None:
    moco = resolve("mococxr", arch="resnet18")
    local = _put(places["local"])
    assert locate(moco) == Path("pretrained") / PUBLISHED
    assert locate(moco, weights=places["given"]) == Path("pretrained") / PUBLISHED
    variable = _put(places["variable"])
    assert locate(moco) == variable
    given = _put(places["given"])
    assert locate(moco, weights=places["given"]) == given
    assert locate(moco, weights=local) == local


def test_names_of_the_authors_are_found_too(places: dict[str, Path]) -> None:
    path = _put(places["variable"], "r8w-00001-v2.pth.tar")
    assert locate(resolve("mococxr", arch="resnet18")) == path
    with pytest.raises(WeightsError):
        locate(resolve("mococxr", arch="resnet50"))


def test_missing_weights_name_every_place_the_source_and_the_option(
    places: dict[str, Path],
) -> None:
    with pytest.raises(WeightsError) as caught:
        locate(resolve("mococxr", arch="resnet18"), weights=places["given"])
    message = str(caught.value)
    for folder in places.values():
        assert str(folder) in message
    for part in (PUBLISHED, "github.com/stanfordmlgroup/MoCo-CXR", "--weights mococxr=FILE"):
        assert part in message
    assert "\n" not in message
    assert caught.value.exit_code == 4


def test_an_unset_variable_is_mentioned(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXRLEARN_WEIGHTS_DIR")
    with pytest.raises(WeightsError, match=r"\$CXRLEARN_WEIGHTS_DIR is not set"):
        locate(resolve("refers"))


def test_a_given_path_that_is_not_there_is_an_error(places: dict[str, Path]) -> None:
    with pytest.raises(WeightsError, match=r"there is no file absent\.pt"):
        locate(resolve("refers"), weights="absent.pt")


def test_resnet_falls_back_to_torchvisions_cache_unless_a_folder_was_given(
    places: dict[str, Path],
) -> None:
    assert locate(resolve("resnet")) is None
    with pytest.raises(WeightsError):
        locate(resolve("resnet"), weights=places["given"])
    path = _put(places["local"], "resnet50-0676ba61.pth")
    assert locate(resolve("resnet")) == Path("pretrained") / path.name


def test_packaged_weights_come_from_the_package(tmp_path: Path) -> None:
    path = _put(tmp_path)
    tiny = resolve("cxr-tiny")
    packaged = replace(tiny, spec=replace(tiny.spec, weights=PackagedFile(lambda: path)))
    assert locate(packaged) == path
    path.unlink()
    with pytest.raises(WeightsError, match="Install the package again"):
        locate(packaged)


def test_a_builder_with_its_own_weights_takes_no_file(tmp_path: Path) -> None:
    tiny = resolve("cxr-tiny")
    own = replace(tiny, spec=replace(tiny.spec, weights=BuilderWeights("mine 1.0")))
    assert locate(own) is None
    with pytest.raises(WeightsError, match="takes no weight file"):
        locate(own, weights=_put(tmp_path))
    assert identity(own, None) == {"weights": "builder:mine 1.0"}


def test_identity_is_the_content_never_the_path(tmp_path: Path) -> None:
    moco = resolve("mococxr")
    one, two = _put(tmp_path), _put(tmp_path, "copy")
    expected = {"weights": "sha256:" + hashlib.sha256(b"x").hexdigest()}
    assert identity(moco, one) == identity(moco, two) == expected
    assert identity(moco, one, random_seed=3) == {"weights": "random:3"}
    assert identity(resolve("resnet"), None) == {
        "weights": "torchvision:resnet50:ResNet50_Weights.IMAGENET1K_V1"
    }
    with pytest.raises(WeightsError, match="not been located"):
        identity(moco, None)


def test_a_changed_file_is_hashed_again(tmp_path: Path) -> None:
    path = _put(tmp_path)
    first = file_sha256(path)
    path.write_bytes(b"longer")
    assert file_sha256(path) == hashlib.sha256(b"longer").hexdigest() != first
    with pytest.raises(WeightsError, match="cannot read"):
        file_sha256(tmp_path / "absent")


def test_a_model_folders_hash_covers_weights_and_settings(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "README.md"):
        _put(tmp_path, name)
    first = content_hash(tmp_path)
    (tmp_path / "README.md").write_bytes(b"other")
    assert content_hash(tmp_path) == first
    (tmp_path / "config.json").write_bytes(b"other")
    assert content_hash(tmp_path) != first


def test_verification_says_what_a_hash_proves() -> None:
    assert verification(None, "ab") == "not verified: no published hash"
    assert verification("ab", "abcd") == "verified: sha256 begins with ab, as published"
    assert verification("ab", "0123456789").startswith("NOT the published file")


def test_a_broken_reference_in_a_record_is_named() -> None:
    assert load_reference("os.path:join") is not None
    for reference in ("no_such_module_x:f", "os:no_such_name", "os"):
        with pytest.raises(WeightsError, match=reference):
            load_reference(reference)
