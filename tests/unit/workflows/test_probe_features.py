from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cxrlearn import read_features
from cxrlearn.errors import DataError, FeatureFileError, UsageError, WeightsError
from cxrlearn.features.stored_rows import StoredRows
from cxrlearn.runtime.events import SILENT
from cxrlearn.workflows.datasets import load_sets
from cxrlearn.workflows.probe_config import ProbeConfig
from cxrlearn.workflows.probe_features import (
    embed_config,
    find_target,
    load_features,
    only_feature_file,
)
from cxrlearn.workflows.settings import NamedPath
from tests.support.feature_files import edited
from tests.support.listener import Listener
from tests.support.small_study import Study, embedded_study, write_rows

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return embedded_study(tmp_path_factory.mktemp("study") / "base")


@pytest.fixture
def study(base: Study, tmp_path: Path) -> Study:
    return base.copy(tmp_path / "study")


def config(study: Study, **settings: Any) -> ProbeConfig:  # noqa: ANN401
    folder = study.folder
    given: dict[str, Any] = {
        "model": "cxr-tiny",
        "train_csv": folder / "train.csv",
        "val_csv": folder / "val.csv",
        "test_csv": (NamedPath(str(folder / "test.csv")),),
        "features_dir": folder / "features",
        "workers": 0,
    }
    return ProbeConfig(**{**given, **settings})


def test_features_stand_in_the_order_of_the_manifest(study: Study) -> None:
    rows = study.rows("train")[::-1]
    order = iter(rows)
    study.rewrite("train", lambda _: next(order))
    settings = config(study)
    found = load_features(settings, load_sets(settings, SILENT), SILENT)
    content = read_features(study.features)
    by_id = dict(zip(content.ids, content.features, strict=True))
    train = found.splits["train"]
    assert train.kept.tolist() == list(range(24))
    assert isinstance(train.features, np.ndarray)
    assert np.array_equal(train.features, np.stack([by_id[row["Path"]] for row in rows]))
    assert found.failed == {}


@pytest.mark.parametrize(
    ("settings", "streamed"),
    [({}, True), ({"knn": True}, False), ({"linear": True}, False), ({"solver": "sklearn"}, False)],
)
def test_features_beyond_the_memory_limit_stay_on_disk_where_the_probe_can_read_them_there(
    study: Study, settings: dict[str, Any], *, streamed: bool
) -> None:
    rows = study.rows("train")[::-1]
    order = iter([*rows[5:], *rows[:5]])
    study.rewrite("train", lambda _: next(order))
    given = config(study, memory_limit=1e-4, **settings)
    sets = load_sets(given, SILENT)
    listener = Listener()
    found = load_features(given, sets, listener)
    train = found.splits["train"]
    assert isinstance(train.features, StoredRows) == streamed
    assert ("read from disk" if streamed else "loaded all the same") in listener.notices[-1]
    assert isinstance(found.splits["test"].features, np.ndarray)
    content = read_features(study.features)
    by_id = dict(zip(content.ids, content.features, strict=True))
    ids = [sets.train.image_ids[row] for row in train.kept]
    assert np.array_equal(train.features[slice(None)], np.stack([by_id[name] for name in ids]))
    assert sorted(train.kept.tolist()) == list(range(24))


def test_features_within_the_memory_limit_are_loaded(study: Study) -> None:
    settings = config(study, memory_limit=1.1)  # 1 GiB is kept for the fit
    found = load_features(settings, load_sets(settings, SILENT), SILENT)
    assert isinstance(found.splits["train"].features, np.ndarray)


def test_rows_without_features_are_left_out_and_counted(study: Study) -> None:
    lost = study.rows("test")[2]["Path"]
    (study.folder / lost).write_bytes(b"broken")
    settings = config(study)
    found = load_features(settings, load_sets(settings, SILENT), SILENT)
    assert found.splits["test"].kept.tolist() == [0, 1, *range(3, 12)]
    assert list(found.splits["test"].failed) == [lost]
    assert found.splits["test"].missing == 0
    assert list(found.failed) == [lost]


def test_a_split_without_any_usable_image_is_refused(study: Study) -> None:
    for row in study.rows("val"):
        (study.folder / row["Path"]).unlink()
    study.features.unlink()
    settings = config(study)
    with pytest.raises(DataError, match=r"none of the 8 images of val .*file not found"):
        load_features(settings, load_sets(settings, SILENT), SILENT)


@pytest.mark.parametrize("where", ["as embedded", "elsewhere"])
def test_features_without_their_images_are_used_with_a_notice(study: Study, where: str) -> None:
    settings = config(study)
    sound = load_features(settings, load_sets(settings, SILENT), SILENT)
    shutil.rmtree(study.folder / "images")
    if where == "elsewhere":
        study = Study(study.folder.rename(study.folder.with_name("moved")))
        settings = config(study)
    before = study.features.read_bytes()
    listener = Listener()
    found = load_features(settings, load_sets(settings, listener), listener)
    assert any("44 of 44 images are not on disk" in notice for notice in listener.notices)
    assert found.failed == {}
    for name, split in sound.splits.items():
        assert isinstance(split.features, np.ndarray)
        assert np.array_equal(found.splits[name].features[slice(None)], split.features)
    assert study.features.read_bytes() == before


@pytest.mark.parametrize("harm", ["missing", "torn"])
def test_an_image_that_cannot_be_read_is_not_written_into_the_feature_file(
    study: Study, harm: str
) -> None:
    new = study.folder / "images/new.png"
    if harm == "torn":
        new.write_bytes(b"no picture")
    row = study.rows("test")[0] | {"Path": "images/new.png"}
    write_rows(study.folder / "test.csv", [*study.rows("test"), row])
    before = study.features.read_bytes()
    settings = config(study)
    found = load_features(settings, load_sets(settings, SILENT), SILENT)
    assert list(found.failed) == ["images/new.png"]
    assert study.features.read_bytes() == before


@pytest.mark.parametrize("streamed", [False, True])
def test_training_features_that_are_all_the_same_are_shouted_about(
    study: Study, *, streamed: bool
) -> None:
    with edited(study.features) as content:
        content["features"][:] = 0
    settings = config(study, memory_limit=1e-4 if streamed else None)
    listener = Listener()
    load_features(settings, load_sets(settings, SILENT), listener)
    assert any("all 24 training images have the same" in text for text in listener.warnings)


def test_features_of_other_weights_under_the_same_name_are_refused(study: Study) -> None:
    with edited(study.features) as content:
        found = json.loads(content.attrs["fingerprint"]) | {"weights": "sha256:" + "ab" * 32}
        content.attrs["fingerprint"] = json.dumps(found, sort_keys=True, separators=(",", ":"))
    settings = config(study)
    with pytest.raises(FeatureFileError, match=r"made with other settings \(weights: sha256:abab"):
        load_features(settings, load_sets(settings, SILENT), SILENT)


def test_the_only_feature_file_says_which_backbone(study: Study) -> None:
    found = only_feature_file(study.folder / "features")
    assert found["model"] == "cxr-tiny"
    study.features.with_name("convirt.h5").touch()
    with pytest.raises(UsageError, match="holds convirt, cxr-tiny"):
        only_feature_file(study.folder / "features")
    with pytest.raises(UsageError, match="holds no feature file"):
        only_feature_file(study.folder / "nothing")


def test_missing_weights_are_missed_unless_the_features_are_there(study: Study) -> None:
    with pytest.raises(WeightsError, match="no weights for chexzero"):
        find_target(config(study, model="chexzero"), SILENT)
    assert find_target(config(study), SILENT).file == study.features


def test_missing_images_are_embedded_with_the_settings_of_the_probe(study: Study) -> None:
    settings = config(study, batch_size=3, limit=5, intensity="minmax", device="cpu")
    target = find_target(settings, SILENT)
    made = embed_config(settings, target)
    assert made.model == ("cxr-tiny",)
    assert made.output_dir == study.folder / "features"
    assert (made.batch_size, made.limit, made.intensity, made.device) == (3, 5, "minmax", "cpu")
    assert made.test_csv == settings.test_csv
    half = replace(target, fingerprint=replace(target.fingerprint, store="float16"))
    assert embed_config(settings, half).store == "float16"
