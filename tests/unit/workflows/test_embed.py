from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

from cxrlearn.backbones.load import load_backbone
from cxrlearn.data import loaders
from cxrlearn.data.images import read_file, read_radiograph
from cxrlearn.errors import DataError, FeatureFileError, HardwareError
from cxrlearn.features import extract
from cxrlearn.features.lock import writer_lock
from cxrlearn.features.store import read_features, read_info
from cxrlearn.runtime.events import SILENT
from cxrlearn.runtime.signals import Terminated
from cxrlearn.workflows import embed, embed_compute
from cxrlearn.workflows.embed import run_embed
from cxrlearn.workflows.embed_config import EmbedConfig
from cxrlearn.workflows.settings import NamedPath
from tests.support.dicoms import dicom
from tests.support.feature_files import everything
from tests.support.tiny_backbone import SPECS, make_folder, make_image, tiny_spec, use_tiny

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from cxrlearn.runtime.events import Progress
    from cxrlearn.workflows.embed import EmbedResult, FileResult

COUNT = 10


class Listener:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.warnings: list[str] = []

    def notice(self, message: str) -> None:
        self.notices.append(message)

    def warning(self, message: str) -> None:
        self.warnings.append(message)

    def progress(
        self, title: str, total: int, *, unit: str = "images"
    ) -> AbstractContextManager[Progress]:
        return SILENT.progress(title, total, unit=unit)


class Folder:
    """Images, and feature files made from them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.images = path / "images"
        self.names = make_folder(self.images, COUNT)
        self.listener = Listener()

    def run(self, *models: str, **changes: Any) -> EmbedResult:  # noqa: ANN401 - fields of EmbedConfig
        settings: dict[str, Any] = {
            "model": models or ("tiny-test",),
            "images": self.images,
            "output_dir": self.path / "features",
            "batch_size": 4,
            "workers": 0,
            "device": "cpu",
        }
        return run_embed(EmbedConfig(**(settings | changes)), self.listener)

    def one(self, **changes: Any) -> FileResult:  # noqa: ANN401 - as above
        (result,) = self.run(**changes).files
        return result

    @property
    def file(self) -> Path:
        return self.path / "features" / "tiny-test.h5"

    def features(self, file: Path | None = None) -> dict[str, bytes]:
        """Return id to bits."""
        content = read_features(file or self.file)
        return {n: row.tobytes() for n, row in zip(content.ids, content.features, strict=True)}

    def write_csv(self, name: str, paths: list[str], folder: Path | None = None) -> Path:
        file = (folder or self.images) / name
        with file.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["Path", "Effusion"])
            writer.writerows([path, 0] for path in paths)
        return file


def counts(result: FileResult) -> tuple[int, int, int, int]:
    return result.computed, result.copied, result.unchanged, len(result.failed)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    use_tiny(monkeypatch)
    return Folder(tmp_path)


def refuse_to_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where torch would be imported."""
    monkeypatch.setattr(embed, "_compute", lambda *_: pytest.fail("started the backbone"))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    paths: list[str] = []

    def counted(path: str) -> bytes:
        paths.append(path)
        return read_file(path)

    monkeypatch.setattr(loaders, "read_file", counted)
    return paths


def stop_after(monkeypatch: pytest.MonkeyPatch, batches: int, error: BaseException) -> None:
    """Let the forward pass of that many batches succeed and the next one raise `error`."""
    original = extract.Extractor._start
    left = [batches]

    def run(self: extract.Extractor) -> NDArray[np.float32] | None:
        left[0] -= 1
        if left[0] < 0:
            raise error
        return original(self)

    monkeypatch.setattr(extract.Extractor, "_start", run)


# What is computed


def test_every_image_gets_the_features_of_its_pixels(folder: Folder) -> None:
    assert counts(folder.one()) == (COUNT, 0, 0, 0)
    content = read_features(folder.file)
    backbone = load_backbone("tiny-test", read=lambda path: read_radiograph(path).pixels)
    assert content.ids.tolist() == folder.names
    for name, row in zip(content.ids, content.features, strict=True):
        inputs = backbone.preprocess(folder.images / name).unsqueeze(0)
        assert np.allclose(row, backbone(inputs)[0].numpy(), rtol=1e-5, atol=1e-6)


def test_nothing_new_leaves_the_file_alone(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.one()
    before = folder.file.read_bytes(), folder.file.stat().st_mtime_ns
    refuse_to_compute(monkeypatch)
    result = folder.one()
    assert counts(result) == (0, 0, COUNT, 0)
    assert result.rows == COUNT
    assert (folder.file.read_bytes(), folder.file.stat().st_mtime_ns) == before


def test_only_new_images_are_computed(folder: Folder) -> None:
    folder.one()
    before = folder.features()
    make_folder(folder.images, 3, start=COUNT)
    assert counts(folder.one()) == (3, 0, COUNT, 0)
    assert before.items() < folder.features().items()
    shutil.rmtree(folder.path / "features")
    fresh = folder.one()
    assert fresh.computed == COUNT + 3
    assert before.items() <= folder.features().items()  # to the bit


def test_an_edited_image_gets_a_row_of_its_own(folder: Folder) -> None:
    folder.one()
    name = folder.names[3]
    make_image(folder.images / name, 999)
    assert counts(folder.one()) == (1, 0, COUNT - 1, 0)
    assert read_features(folder.file).ids.tolist().count(name) == 2
    make_image(folder.images / name, 999)  # written again, equal
    assert counts(folder.one()) == (0, 1, COUNT - 1, 0)


def test_a_touched_image_is_not_computed_again(folder: Folder) -> None:
    folder.one()
    before = folder.features()
    os.utime(folder.images / folder.names[0])
    result = folder.one()
    assert counts(result) == (0, 1, COUNT - 1, 0)
    assert result.rows == COUNT
    assert folder.features() == before
    assert counts(folder.one()) == (0, 0, COUNT, 0)


def test_an_edit_that_kept_size_and_time_is_found_by_verify_content(folder: Folder) -> None:
    path = folder.images / folder.names[0]
    bmp = path.with_suffix(".bmp")
    make_image(bmp, 1)
    folder.one()
    status = bmp.stat()
    make_image(bmp, 2)
    os.utime(bmp, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert bmp.stat().st_size == status.st_size
    assert counts(folder.one()) == (0, 0, COUNT + 1, 0)
    assert counts(folder.one(verify_content=True)) == (1, 0, COUNT, 0)


def test_equal_content_under_another_name_is_copied(folder: Folder, reads: list[str]) -> None:
    first = folder.images / folder.names[0]
    shutil.copy(first, folder.images / "s0/again.png")  # within one run
    assert counts(folder.one()) == (COUNT, 1, 0, 0)
    shutil.copy(first, folder.images / "s0/later.png")  # of an earlier run
    assert counts(folder.one()) == (0, 1, COUNT + 1, 0)
    features = folder.features()
    assert len({features[name] for name in (folder.names[0], "s0/again.png", "s0/later.png")}) == 1


def test_a_moved_folder_is_not_computed_again(folder: Folder) -> None:
    folder.one()
    folder.images = folder.images.rename(folder.path / "elsewhere")
    assert counts(folder.one()) == (0, COUNT, 0, 0)
    assert counts(folder.one()) == (0, 0, COUNT, 0)


def test_a_run_over_part_of_the_images_keeps_the_rows_of_the_others(folder: Folder) -> None:
    folder.one()
    result = folder.one(limit=2)
    assert (result.rows, result.unchanged) == (COUNT, 2)


def test_constant_images_are_named_and_finite(folder: Folder) -> None:
    for number in range(12):
        Image.new("L", (30, 30), number // 2).save(folder.images / f"flat{number:02d}.png")
    names = [f"flat{number:02d}.png" for number in range(12)]
    assert sorted(folder.one().constant) == names
    (line,) = [line for line in folder.listener.warnings if "same value" in line]
    assert line.startswith("12 images have the same value in every pixel: flat00.png, flat01.png")
    assert line.endswith("flat09.png and 2 more.")
    assert np.isfinite(read_features(folder.file).features).all()


def test_a_set_aside_window_is_said_with_the_name_of_the_file(folder: Folder) -> None:
    ramp = np.linspace(0, 4095, 900).astype(np.uint16).reshape(30, 30)
    data = dicom(ramp, bits_stored=12, WindowCenter=128, WindowWidth=256)
    (folder.images / "a.dcm").write_bytes(data)
    assert list(folder.one().notices) == ["a.dcm"]
    start = folder.listener.warnings.index("1 image was not read as the file states:")
    assert folder.listener.warnings[start + 1].startswith(
        "  a.dcm: the window of center 128 and width 256"
    )


def test_special_files_cost_themselves_only(folder: Folder) -> None:
    os.mkfifo(folder.images / "pipe.png")
    with (folder.images / "huge.png").open("wb") as file:
        file.truncate(40_000_000_000)  # takes no disk: it is all holes
    (folder.images / "folder.png").mkdir()
    listed = [
        *folder.names,
        "pipe.png",
        "huge.png",
        "folder.png",
        os.path.relpath("/dev/zero", folder.images),
    ]
    manifest = folder.write_csv("all.csv", listed)
    result = folder.one(images=None, csv=manifest, image_root=folder.images)
    assert result.computed == COUNT
    failed = {name.rsplit("/")[-1]: reason for name, reason in result.failed.items()}
    assert failed == {
        "pipe.png": "cannot read the file: it is a pipe, not a file",
        "zero": "cannot read the file: it is a device, not a file",
        "huge.png": "cannot read the file: it has 40,000 MB, and more than 500 are not read",
        "folder.png": "not a file: a folder of that name, or one in its path is a file",
    }


def test_another_batch_size_is_within_1e_5_of_the_largest_value(folder: Folder) -> None:
    folder.one()
    folder.one(batch_size=7, output_dir=folder.path / "other")
    one = read_features(folder.file).features
    other = read_features(folder.path / "other/tiny-test.h5").features
    assert (np.abs(one - other) <= 1e-5 * np.abs(one).max(axis=1, keepdims=True)).all()


# Several data sets


def test_manifests_are_put_together_by_image(folder: Folder) -> None:
    train = folder.write_csv("train.csv", folder.names[:6])
    val = folder.write_csv("val.csv", folder.names[4:8])
    test = folder.write_csv("test.csv", folder.names[8:])
    result = folder.run(
        images=None, train_csv=train, val_csv=val, test_csv=(NamedPath(f"ext={test}"),)
    )
    assert result.images == COUNT
    assert result.files[0].computed == COUNT


def test_two_datasets_that_share_paths_mix_nothing_up(folder: Folder) -> None:
    # Equal names, sizes and times: only place and content tell the images apart.
    other = folder.path / "other"
    for number, name in enumerate(folder.names):
        bmp = Path(name).with_suffix(".bmp")
        for root, seed in ((folder.images, number), (other, 500 + number)):
            make_image(root / bmp, seed)
            os.utime(root / bmp, ns=(10**18, 10**18))
        (folder.images / name).unlink()
    one = folder.one()
    assert counts(one) == (COUNT, 0, 0, 0)
    first = folder.features()
    assert counts(folder.one(images=other)) == (COUNT, 0, 0, 0)
    content = read_features(folder.file)
    assert len(content.ids) == 2 * COUNT
    assert len(set(content.ids)) == COUNT
    assert counts(folder.one()) == (0, 0, COUNT, 0)
    assert counts(folder.one(images=other)) == (0, 0, COUNT, 0)
    bits = {row.tobytes() for row in content.features}
    assert len(bits) == 2 * COUNT
    assert set(first.values()) < bits


def test_one_image_in_two_datasets_settles(folder: Folder) -> None:
    other = folder.path / "other"
    shutil.copytree(folder.images, other)
    for name in folder.names:
        os.utime(other / name)
    a = folder.write_csv("a.csv", folder.names)
    b = folder.write_csv("b.csv", folder.names, other)
    both: dict[str, Any] = {"images": None, "train_csv": a, "val_csv": b}
    assert counts(folder.one(**both)) == (COUNT, COUNT, 0, 0)
    assert counts(folder.one(**both)) == (0, 0, 2 * COUNT, 0)
    assert read_info(folder.file).rows == COUNT


def test_original_defect_s8_an_edited_csv_is_noticed(folder: Folder) -> None:
    # The original's cache was found by its name alone.
    file = folder.write_csv("train.csv", folder.names[:4])
    assert folder.one(images=None, csv=file).computed == 4
    folder.write_csv("train.csv", folder.names[2:7])
    assert counts(folder.one(images=None, csv=file)) == (3, 0, 2, 0)


def test_faults_of_a_manifest_stop_before_any_work(folder: Folder) -> None:
    file = folder.write_csv("train.csv", ["a.png", ""])
    with pytest.raises(DataError, match="row 3"):
        folder.one(images=None, csv=file)
    assert not folder.file.exists()


# Images that cannot be read


def test_original_defect_s1_a_failed_image_shifts_nothing(folder: Folder) -> None:
    folder.one()
    good = folder.features()
    shutil.rmtree(folder.path / "features")
    bad = folder.names[2]
    (folder.images / bad).write_bytes(b"a torn picture")
    result = folder.one()
    assert counts(result) == (COUNT - 1, 0, 0, 1)
    assert list(result.failed) == [bad]
    del good[bad]
    assert folder.features() == good
    assert read_features(folder.file).failed == result.failed


@pytest.mark.parametrize("harm", ["remove", "truncate", "corrupt"])
@pytest.mark.parametrize("position", [0, 4, COUNT - 1])
def test_harm_to_one_image_changes_no_other_bit(folder: Folder, harm: str, position: int) -> None:
    file = folder.write_csv("all.csv", folder.names)
    folder.one(images=None, csv=file)
    good = folder.features()
    shutil.rmtree(folder.path / "features")
    path = folder.images / folder.names[position]
    data = path.read_bytes()
    if harm == "remove":
        path.unlink()
    else:
        path.write_bytes(data[: len(data) // 2] if harm == "truncate" else bytes(len(data)))
    result = folder.one(images=None, csv=file)
    assert list(result.failed) == [folder.names[position]]
    del good[folder.names[position]]
    assert folder.features() == good


def test_a_failed_image_is_tried_again_by_every_run(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = folder.images / folder.names[5]
    bad.write_bytes(b"a torn picture")
    folder.one()
    with monkeypatch.context() as patch:
        refuse_to_compute(patch)
        again = folder.one()  # looked at, without starting the backbone
    assert counts(again) == (0, 0, COUNT - 1, 1)
    before = again.failed[folder.names[5]]
    bad.write_bytes(b"\x89PNG\r\n\x1a\n torn")
    assert folder.one().failed[folder.names[5]] != before
    make_image(bad, 777)
    assert counts(folder.one()) == (1, 0, COUNT - 1, 0)
    assert read_features(folder.file).failed == {}


def test_failures_of_images_that_are_not_in_this_run_stay(folder: Folder) -> None:
    (folder.images / folder.names[5]).write_bytes(b"a torn picture")
    folder.one()
    result = folder.one(limit=2)
    assert result.failed == {}
    assert list(read_features(folder.file).failed) == [folder.names[5]]


def test_a_row_of_a_file_that_is_gone_now_stays(folder: Folder) -> None:
    file = folder.write_csv("all.csv", folder.names)
    folder.one(images=None, csv=file)
    (folder.images / folder.names[1]).unlink()
    result = folder.one(images=None, csv=file)
    assert (result.rows, result.failed) == (COUNT, {folder.names[1]: "file not found"})


@pytest.mark.parametrize("zeros", [False, True])
def test_features_that_are_all_the_same_are_shouted_about(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, *, zeros: bool
) -> None:
    if zeros:
        use_tiny(monkeypatch, tiny_spec(builder="tests.support.tiny_backbone:build_zeros"))
    folder.one()
    said = [text for text in folder.listener.warnings if "have the same features" in text]
    assert len(said) == zeros
    if zeros:
        assert f"tiny-test: all {COUNT} images" in said[0]


def test_all_images_may_fail(folder: Folder) -> None:
    for name in folder.names:
        (folder.images / name).write_bytes(b"a torn picture")
    assert counts(folder.one()) == (0, 0, 0, COUNT)
    assert read_info(folder.file).rows == 0
    make_folder(folder.images, COUNT)
    assert counts(folder.one()) == (COUNT, 0, 0, 0)


def test_the_result_says_what_failed_in_any_file(folder: Folder) -> None:
    (folder.images / folder.names[5]).write_bytes(b"a torn picture")
    result = folder.run("tiny-test", "tiny-large", allow_failures=True)
    assert list(result.failed) == [folder.names[5]]
    assert result.allow_failures


# Several backbones


def test_many_backbones_read_each_image_once(folder: Folder, reads: list[str]) -> None:
    names = tuple(spec.name for spec in SPECS)
    together = folder.run(*names)
    assert len(reads) == COUNT
    for file in together.files:
        alone = folder.one(model=(file.tag,), output_dir=folder.path / "alone")
        assert everything(file.file) == everything(alone.file)


def test_each_backbone_gets_what_it_lacks(folder: Folder) -> None:
    folder.run("tiny-test", limit=4)
    folder.run("tiny-large", limit=2)
    result = folder.run("tiny-test", "tiny-large", "tiny-other")
    assert [counts(file)[:3] for file in result.files] == [
        (COUNT - 4, 0, 4),
        (COUNT - 2, 0, 2),
        (COUNT, 0, 0),
    ]


def test_a_backbone_named_twice_is_run_once(folder: Folder) -> None:
    assert len(folder.run("tiny-test", "tiny-test").files) == 1


# Settings and their files


@pytest.mark.parametrize(
    ("changes", "tag"),
    [
        ({"preprocessing": "original"}, "tiny-test+original"),
        ({"features": "twice"}, "tiny-test+twice"),
        ({"precision": "fp32"}, "tiny-test+fp32"),
        ({"intensity": "minmax"}, "tiny-test+minmax"),
        ({"store": "float16"}, "tiny-test+float16"),
    ],
    ids=str,
)
def test_other_settings_have_files_of_their_own(
    folder: Folder, changes: dict[str, Any], tag: str
) -> None:
    folder.one()
    before = folder.file.read_bytes()
    result = folder.one(**changes)
    assert (result.tag, result.file.name) == (tag, f"{tag}.h5")
    assert result.computed == COUNT
    assert folder.file.read_bytes() == before


def test_a_file_of_other_weights_is_refused_with_the_ways_out(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.one()
    before = folder.file.read_bytes()
    use_tiny(monkeypatch, tiny_spec(identity="2"))
    with pytest.raises(FeatureFileError) as caught:
        folder.one()
    message = str(caught.value)
    assert str(folder.file) in message
    assert "weights: builder:tiny-test 1 there, builder:tiny-test 2 now" in message
    assert "another --output-dir" in message
    assert "delete the file" in message
    assert "\n" not in message
    assert caught.value.exit_code == 5
    assert folder.file.read_bytes() == before


def test_a_damaged_file_is_refused_and_left_alone(folder: Folder) -> None:
    folder.one()
    folder.file.write_bytes(folder.file.read_bytes()[:-100])
    before = folder.file.read_bytes()
    with pytest.raises(
        FeatureFileError, match=r"damaged.*Delete it and run `cxrlearn embed` again"
    ):
        folder.one()
    assert folder.file.read_bytes() == before


def test_half_precision_records_its_distance_and_is_kept(folder: Folder) -> None:
    folder.one(precision="bf16", limit=5)
    file = folder.path / "features" / "tiny-test+bf16.h5"
    info = read_info(file)
    assert info.fingerprint.precision == "bf16"
    distance = info.provenance["cosine_distance_to_float32"]
    assert isinstance(distance, float)
    assert 0 < distance < 1e-3
    # A file of the automatic precision keeps the one it has.
    shutil.copy(file, folder.file)
    folder.one()
    assert read_info(folder.file).fingerprint.precision == "bf16"
    assert any("keeps its precision, bf16" in notice for notice in folder.listener.notices)


def test_half_precision_that_fell_back_can_be_continued(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "LARGEST_COSINE_DISTANCE", 0.0)
    folder.one(precision="bf16", limit=5)
    file = folder.path / "features" / "tiny-test+bf16.h5"
    assert read_info(file).fingerprint.precision == "fp32"
    assert any("float32 is used" in notice for notice in folder.listener.notices)
    assert folder.one(precision="bf16").computed == COUNT - 5
    folder.one()
    assert folder.features(file) == folder.features()


def test_a_gpu_that_is_not_there_is_one_line(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for changes in ({"gpus": ("0", "1"), "device": "auto"}, {"device": "cuda:3"}):
        with pytest.raises(HardwareError) as caught:
            folder.one(**changes)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 7


def test_a_file_in_use_is_not_touched(folder: Folder) -> None:
    with writer_lock(folder.file), pytest.raises(FeatureFileError, match="is being written by"):
        folder.one()
    assert folder.one().computed == COUNT


# Interruptions


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), Terminated(), ValueError("a bug")], ids=repr
)
def test_what_was_finished_before_a_stop_is_kept(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    folder.one(output_dir=folder.path / "whole")
    with monkeypatch.context() as patch:
        stop_after(patch, 1, error)
        with pytest.raises(type(error)):
            folder.one()
    assert not folder.file.exists()
    assert counts(folder.one()) == (COUNT - 4, 0, 4, 0)
    assert everything(folder.file) == everything(folder.path / "whole/tiny-test.h5")
    assert not folder.file.with_name("tiny-test.h5.parts").exists()
    assert any("going on after an interruption" in line for line in folder.listener.notices)


def test_a_stop_of_several_backbones_keeps_the_parts_of_all(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after(patch, 3, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            folder.run("tiny-test", "tiny-large")
    result = folder.run("tiny-test", "tiny-large")
    assert [file.unchanged for file in result.files] == [8, 4]


def test_parts_of_other_settings_are_dropped_with_a_notice(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after(patch, 1, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            folder.one()
    use_tiny(monkeypatch, tiny_spec(identity="2"))
    assert folder.one().computed == COUNT
    assert any("other settings and are dropped" in line for line in folder.listener.notices)


def test_a_part_torn_by_a_power_cut_is_computed_again(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.one(output_dir=folder.path / "whole")
    with monkeypatch.context() as patch:
        stop_after(patch, 2, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            folder.one(part_rows=4)
    part = min(folder.file.with_name("tiny-test.h5.parts").iterdir())
    part.write_bytes(part.read_bytes()[:-1000])
    assert counts(folder.one()) == (COUNT - 4, 0, 4, 0)
    assert any("1 damaged part" in line for line in folder.listener.notices)
    assert everything(folder.file) == everything(folder.path / "whole/tiny-test.h5")


def test_a_killed_decoding_process_leaves_what_was_finished(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(folder.images, 60)  # more than is decoded in advance
    make_image(folder.images / "z.png", 1, size=(3, 3))
    monkeypatch.setattr(embed_compute, "apply_steps", _die_at_the_last_image)
    with pytest.raises(HardwareError, match="a process that decodes images died"):
        folder.one(workers=1, batch_size=1)
    monkeypatch.undo()
    use_tiny(monkeypatch)
    assert folder.one(batch_size=1).unchanged > 0


def _die_at_the_last_image(pixels: NDArray[np.uint8], **settings: Any) -> NDArray[np.uint8]:  # noqa: ANN401
    from cxrlearn.backbones.preprocessing import apply_steps

    if pixels.shape == (3, 3):
        os._exit(9)
    return apply_steps(pixels, **settings)


# What is said


def test_the_disk_it_will_take_is_announced(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed, "BIG_DISK_BYTES", 0)
    folder.one(limit=2)
    assert any("GB of disk while it runs" in line for line in folder.listener.notices)
    usage = shutil.disk_usage(folder.path)._replace(free=1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    folder.one()
    assert any("only 0.0 GB are free" in line for line in folder.listener.warnings)


def test_a_long_run_is_announced_once_its_speed_is_known(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed_compute, "LONG_RUN_SECONDS", 0)
    make_folder(folder.images, 260)
    folder.one()
    (line,) = folder.listener.notices
    assert "min for the other 4 images" in line


def test_the_provenance_is_apart_from_what_decides_the_numbers(folder: Folder) -> None:
    folder.one()
    attributes = read_features(folder.file).attributes
    provenance = attributes["provenance"]
    assert isinstance(provenance, dict)
    assert {"host", "versions", "created", "precision_requested"} <= set(provenance)
    assert "host" not in str(attributes["fingerprint"])
