"""One model of each library, with weights made here: embedded, merged, and gone on with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import timm
import torch
import torchvision
import transformers

from cxrlearn.features.store import read_features
from tests.support.cli import done
from tests.support.tiny_backbone import make_image

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def make_timm(folder: Path) -> list[str]:
    torch.save(timm.create_model("test_resnet").state_dict(), folder / "own.pth")
    return ["--model", "timm:test_resnet", "--weights", "timm:test_resnet=own.pth"]


def make_torchvision(folder: Path) -> list[str]:
    network = torchvision.models.get_model("shufflenet_v2_x0_5", weights=None)
    torch.save(network.state_dict(), folder / "own.pth")
    name = "torchvision:shufflenet_v2_x0_5"
    return ["--model", name, "--weights", f"{name}=own.pth"]


def make_hf(folder: Path) -> list[str]:
    library = cast("Any", transformers)
    library.utils.logging.disable_progress_bar()
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = library.Dinov2Config(**sizes, image_size=28, patch_size=14)
    library.Dinov2Model(config).save_pretrained(folder / "model")
    library.BitImageProcessor(
        size={"shortest_edge": 33}, crop_size={"height": 28, "width": 28}
    ).save_pretrained(folder / "model")
    return ["--model", "hf:model"]


@pytest.mark.parametrize("make", [make_timm, make_torchvision, make_hf])
def test_a_model_of_every_library_is_embedded_and_more_images_are_added(
    make: Any,  # noqa: ANN401 - one of the above
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    arguments = ["embed", *make(tmp_path), "--images", "films", "--offline"]
    for number in range(3):
        make_image(tmp_path / f"films/{number}.png", number)
    done(*arguments, cwd=tmp_path)
    (file,) = (tmp_path / "features").glob("*.h5")
    before = read_features(file)
    make_image(tmp_path / "films/3.png", 3)
    text = done(*arguments, cwd=tmp_path).out
    assert "1 computed, 3 unchanged" in text
    after = read_features(file)
    assert list(after.ids) == [f"{number}.png" for number in range(4)]
    np.testing.assert_array_equal(after.features[:3], before.features)
    assert np.isfinite(after.features).all()
