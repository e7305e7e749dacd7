from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cxrlearn.errors import DataError
from cxrlearn.workflows.finetune_config import FinetuneConfig
from cxrlearn.workflows.finetune_prepare import prepare
from cxrlearn.workflows.settings import NamedPath
from tests.support.listener import Listener
from tests.support.small_study import LABELS, Study, write_study

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return write_study(tmp_path / "study")


def config_of(study: Study) -> FinetuneConfig:
    return FinetuneConfig(
        model="cxr-tiny",
        train_csv=study.folder / "train.csv",
        val_csv=study.folder / "val.csv",
        test_csv=(NamedPath(study.folder / "test.csv"),),
        class_columns=LABELS,
        output_dir=study.folder / "runs",
        features_dir=study.folder / "features",
    )


def test_a_study_without_faults_has_no_warnings(study: Study) -> None:
    prepared = prepare(config_of(study), Listener())
    assert prepared.warnings == ()
    assert prepared.folder.name == "cxr-tiny-finetune"


def test_a_picture_in_two_splits_is_a_warning_and_under_strict_an_error(study: Study) -> None:
    shutil.copy(
        study.folder / study.rows("train")[0]["Path"], study.folder / study.rows("test")[3]["Path"]
    )
    listener = Listener()
    prepared = prepare(config_of(study), listener)
    said = "1 image file is both in train and in test, with the same content: results on test"
    assert [one[: len(said)] for one in listener.warnings] == [said]
    assert prepared.warnings == tuple(listener.warnings)
    with pytest.raises(DataError, match="with the same content"):
        prepare(replace(config_of(study), strict=True), Listener())
