"""Features of every published file form equal those of the authors' own code."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch

from cxrlearn.backbones.load import load_backbone
from tests.support.checkpoints import (
    CASES,
    golden_error,
    golden_input,
    read_golden,
    read_layout,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

TOLERANCE = 1e-4
FORMS = [
    pytest.param(name, layout, id=layout)
    for name in CASES
    for layout in read_golden(name)["layouts"]
]


@pytest.fixture(scope="module")
def batch() -> torch.Tensor:
    return golden_input()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that is emptied at once: these files are large, and pytest keeps three runs."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def _offered(golden: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the golden's features but for those that only the original tool's defects give."""
    return [
        feature
        for feature in golden["features"]
        if not feature["id"].startswith(("original_", "proj_original"))
    ]


@pytest.mark.parametrize(("name", "layout_name"), FORMS)
def test_file_as_published_gives_the_authors_features(
    name: str, layout_name: str, batch: torch.Tensor, folder: Path
) -> None:
    """Storages say cuda:0, and settings are OmegaConf objects, as in the real files."""
    model, options = CASES[name]
    golden = read_golden(name)
    path = write(read_layout(layout_name), folder, published=True)
    wanted = _offered(golden)
    if "variant" in layout_name:  # further forms: the recommended feature is enough
        wanted = [feature for feature in wanted if feature["recommended"]]
    for feature in wanted:
        backbone = load_backbone(model, weights=path, features=feature["id"], **options)  # type: ignore[arg-type]
        with torch.inference_mode():
            values = backbone(batch).double().numpy()
        assert values.shape[1] == feature["dim"] == backbone.feature_dim
        errors = [golden_error(row, values[i]) for i, row in enumerate(feature["rows"])]
        assert max(errors) < TOLERANCE, (feature["id"], errors)


@pytest.mark.parametrize("name", CASES)
def test_recommended_feature_is_the_default(name: str) -> None:
    from cxrlearn.backbones.registry import resolve

    model, options = CASES[name]
    recommended = [one["id"] for one in _offered(read_golden(name)) if one["recommended"]]
    resolved = resolve(model, **options)  # type: ignore[arg-type]
    assert [resolved.feature.id] == recommended
    offered = {one["id"] for one in _offered(read_golden(name))}
    assert {feature.id for feature in resolved.variant.features} == offered


@pytest.mark.parametrize(
    "layout_name", ["moco-cxr_resnet18", "gloria_chexpert_resnet18", "s2mts2-chexpert"]
)
def test_stream_of_old_torch_is_read(layout_name: str, batch: torch.Tensor, folder: Path) -> None:
    model, options = CASES[layout_name]
    path = write(read_layout(layout_name), folder, published=True, legacy=True)
    backbone = load_backbone(model, weights=path, **options)  # type: ignore[arg-type]
    with torch.inference_mode():
        values = backbone(batch).double().numpy()
    row = next(one for one in read_golden(layout_name)["features"] if one["recommended"])["rows"][0]
    assert golden_error(row, values[0]) < TOLERANCE


def test_full_sized_momentum_copy_is_not_taken(batch: torch.Tensor, folder: Path) -> None:
    """Not compact: encoder_k has encoder_q's shapes, so only the values tell them apart."""
    path = write(read_layout("moco-cxr_resnet18"), folder, compact=False)
    backbone = load_backbone("mococxr", arch="resnet18", weights=path)
    with torch.inference_mode():
        values = backbone(batch[:1])[0].double().numpy()
    golden = read_golden("moco-cxr_resnet18")
    assert golden_error(golden["features"][0]["rows"][0], values) < TOLERANCE
