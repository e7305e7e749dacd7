from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from cxrlearn.features.lock import writer_lock
from cxrlearn.reports.run_files import check_run_files
from cxrlearn.training.checkpoints import load_checkpoint
from tests.support import cli
from tests.support.finetune_child import SPECS, Ended, Fault, run_finetune, run_joined
from tests.support.small_study import LABELS, Study, write_study
from tests.support.tiny_backbone import use_tiny

QUICK = ("-m", "small-net", "--epochs", 3, "--batch-size", 8, "--subgroup",
         "none", "--floor-columns", "none", "--learning-rate", 0.02, "--name", "run")  # fmt: skip
CALLS_BEFORE = 8
"""Forward passes before the first step: the width is proved, parameters without use are found, and
six batches of all splits are compared."""
AN_EPOCH = 4
"""Three steps of 24 images, one batch of validation."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return write_study(tmp_path_factory.mktemp("study") / "base")


@pytest.fixture(scope="module")
def whole(base: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    study = base.copy(tmp_path_factory.mktemp("whole") / "study")
    done(study)
    return run_of(study)


@pytest.fixture
def study(base: Study, tmp_path: Path) -> Study:
    return base.copy(tmp_path / "study")


def done(study: Study, *args: object) -> Ended:
    ended = run_finetune(*QUICK, *args, cwd=study.folder)
    assert ended.code == 0, ended.err
    return ended


def refused(code: int, ended: Ended) -> str:
    """Return the one message of a command that failed as it should."""
    assert ended.code == code, ended.err
    assert "Traceback" not in ended.err
    lines = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, ended.err
    return lines[0]


def run_of(study: Study) -> Path:
    return study.folder / "runs" / "run"


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def report_of(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return report


def course(folder: Path) -> tuple[str, str]:
    """Return what has to be equal to the last digit: losses, and what the weights say."""
    return (
        (folder / "history.csv").read_text(encoding="utf-8"),
        (folder / "predictions-test.csv").read_text(encoding="utf-8"),
    )


# ---- what a run leaves ---------------------------------------------------------------------------


def test_a_run_leaves_report_checkpoints_curves_and_what_predict_needs(whole: Path) -> None:
    names = {file.name for file in whole.iterdir()}
    assert names >= {
        "report.json", "report.html", "table.md", "predictions-test.csv", "settings.toml",
        "best.safetensors", "last.safetensors", "history.csv", "learning.png", "learning.svg",
        "model.json",
    }  # fmt: skip
    assert not [name for name in names if name.startswith(".")]
    account = json.loads((whole / "model.json").read_text(encoding="utf-8"))
    assert (account["backbone"], account["labels"]) == ("small-net", list(LABELS))


def test_the_report_says_how_the_network_was_trained(whole: Path) -> None:
    report = report_of(whole)
    trained = report["finetune"]
    assert (report["command"], report["probe"]["kind"]) == ("finetune", "finetune")
    assert (trained["optimizer"], trained["learning_rate"], trained["momentum"]) == (
        "sgd",
        0.02,
        0.9,
    )
    assert (trained["epochs"], trained["ranks"], trained["batch_norm"]) == (3, 1, "local")
    assert trained["criterion"] == "validation macro AUROC"
    assert trained["judged_by"] == list(LABELS)
    assert any("chosen on val by validation macro AUROC" in line for line in report["protocol"])


def test_the_best_epoch_is_that_of_the_highest_validation_auroc(whole: Path) -> None:
    scores = [float(row["val_auroc"]) for row in history(whole)]
    assert report_of(whole)["finetune"]["best_epoch"] == scores.index(max(scores))
    best = load_checkpoint(whole / "best.safetensors")
    assert best.position.best == max(scores)


def test_the_loss_falls(study: Study) -> None:
    done(study, "--epochs", 12, "--augment", "none", "--patience", 0)
    losses = [float(row["loss"]) for row in history(run_of(study))]
    assert sum(losses[-3:]) < sum(losses[:3])


def test_equal_settings_give_equal_bytes_also_over_an_older_run(study: Study, whole: Path) -> None:
    done(study, "--epochs", 1, "--seeds", 2)
    done(study, "--overwrite")
    assert course(run_of(study)) == course(whole)
    assert not (run_of(study) / "seed-1").exists()


def test_a_finished_run_is_not_lost_to_the_same_command_nor_to_one_that_fails(
    study: Study, whole: Path
) -> None:
    shutil.copytree(whole, run_of(study))
    before = contents(run_of(study))
    message = refused(2, run_finetune(*QUICK, cwd=study.folder))
    assert "holds a finished run with these settings" in message
    refused(2, run_finetune(*QUICK, "--overwrite", "--freeze-to", "nowhere", cwd=study.folder))
    assert contents(run_of(study)) == before


def test_every_test_image_has_its_own_row(whole: Path, base: Study) -> None:
    table = pd.read_csv(whole / "predictions-test.csv", dtype=str)
    assert list(table["image_id"]) == [row["Path"] for row in base.rows("test")]


def test_several_seeds_are_compared_and_the_first_is_reported(study: Study, whole: Path) -> None:
    done(study, "--seeds", 2)
    found = report_of(run_of(study))
    assert [one["seed"] for one in found["finetune"]["seeds"]] == [0, 1]
    assert (run_of(study) / "seed-1" / "best.safetensors").is_file()
    assert course(run_of(study)) == course(whole)
    macro = found["results"][0]["evaluation"]["macro"]["value"]
    assert found["finetune"]["seeds"][0]["macro"] == [macro]
    spread = next(line for line in found["protocol"] if line.startswith("2 trainings, seeds 0, 1"))
    assert f"macro AUROC {macro:.3f}, " in spread


def test_without_validation_the_last_weights_are_taken(study: Study) -> None:
    text = (study.folder / "cxrlearn.toml").read_text(encoding="utf-8")
    (study.folder / "cxrlearn.toml").write_text(text.replace('val_csv = "val.csv"\n', ""))
    done(study)
    trained = report_of(run_of(study))["finetune"]
    assert (trained["criterion"], trained["best_epoch"]) == (None, 2)


def test_a_picture_of_train_under_another_name_and_patient_is_noticed(study: Study) -> None:
    source, target = study.rows("train")[6], study.rows("test")[2]
    assert source["patient_id"] != target["patient_id"]
    with Image.open(study.folder / source["Path"]) as image:
        image.save(study.folder / target["Path"], compress_level=0)
    frozen = ("--batch-norm", "frozen", "-m", "still-net")
    done(study, *frozen)
    (said,) = [one for one in report_of(run_of(study))["warnings"] if "nearly the same" in one]
    assert said.startswith("1 image of test looks nearly the same as one of train")
    assert f"such as {target['Path']} and {source['Path']}" in said
    two = run_joined(2, *QUICK, *frozen, "--output-dir", "two", cwd=study.folder)
    assert [one.err.count("nearly the same") for one in two] == [1, 0]
    found = report_of(study.folder / "two" / "run")["warnings"]
    assert said in found


# ---- stopped and resumed -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "at", "code"),
    [
        ("SIGKILL", CALLS_BEFORE + AN_EPOCH + 2, -9),
        ("SIGKILL", CALLS_BEFORE + 2 * AN_EPOCH, -9),  # while validating the second epoch
        ("SIGTERM", CALLS_BEFORE + 2, 143),
        ("SIGTERM", CALLS_BEFORE + AN_EPOCH + 3, 143),
        ("SIGINT", CALLS_BEFORE + 2 * AN_EPOCH + 1, 130),
    ],
)
def test_a_stopped_run_goes_on_to_the_last_digit(
    study: Study, whole: Path, kind: str, at: int, code: int
) -> None:
    ended = run_finetune(*QUICK, cwd=study.folder, fault=Fault(kind, at))
    assert ended.code == code, ended.err
    if code > 0:
        assert "saved in runs/run/last.safetensors" in refused(code, ended)
        assert "--resume goes on" in ended.err
    done(study, "--resume")
    assert course(run_of(study)) == course(whole)


def test_a_run_that_saves_within_an_epoch_goes_on_from_there(study: Study, whole: Path) -> None:
    fault = Fault("SIGKILL", CALLS_BEFORE + AN_EPOCH + 3)
    assert run_finetune(*QUICK, "--save-every", 1, cwd=study.folder, fault=fault).code == -9
    saved = load_checkpoint(run_of(study) / "last.safetensors").position
    assert (saved.epoch, saved.step) == (1, 2)
    done(study, "--resume")
    assert course(run_of(study)) == course(whole)


def test_an_unfinished_run_is_not_lost_to_a_command_without_resume(study: Study) -> None:
    fault = Fault("SIGTERM", CALLS_BEFORE + AN_EPOCH + 1)
    assert run_finetune(*QUICK, cwd=study.folder, fault=fault).code == 143
    before = (run_of(study) / "last.safetensors").read_bytes()
    message = refused(2, run_finetune(*QUICK, cwd=study.folder))
    assert "holds an unfinished run. --resume goes on with it" in message
    assert (run_of(study) / "last.safetensors").read_bytes() == before


def test_resuming_under_other_settings_names_them(study: Study) -> None:
    fault = Fault("SIGTERM", CALLS_BEFORE + 2)
    assert run_finetune(*QUICK, cwd=study.folder, fault=fault).code == 143
    ended = run_finetune(*QUICK, "--resume", "--momentum", 0.5, cwd=study.folder)
    assert "momentum differ" in refused(2, ended)
    done(study, "--resume")


@pytest.mark.parametrize("at", [CALLS_BEFORE + 2, CALLS_BEFORE + 2 * AN_EPOCH + 1])
def test_a_killed_overwrite_leaves_the_old_run_and_can_go_on(
    study: Study, whole: Path, at: int
) -> None:
    done(study, "--epochs", 1)
    (run_of(study) / "notes.txt").write_text("mine")
    before = contents(run_of(study))
    ended = run_finetune(*QUICK, "--overwrite", cwd=study.folder, fault=Fault("SIGKILL", at))
    assert ended.code == -9
    assert contents(run_of(study)) == before
    done(study, "--resume")
    assert course(run_of(study)) == course(whole)
    assert (run_of(study) / "notes.txt").read_text() == "mine"
    check_run_files(run_of(study), report_of(run_of(study)))
    left = {path.name for path in (study.folder / "runs").iterdir() if path.is_dir()}
    assert left == {"run"}


def test_a_damaged_best_checkpoint_is_set_aside_and_the_run_goes_on(study: Study) -> None:
    fault = Fault("SIGKILL", CALLS_BEFORE + 2 * AN_EPOCH + 1)
    assert run_finetune(*QUICK, cwd=study.folder, fault=fault).code == -9
    best = run_of(study) / "best.safetensors"
    damaged = bytearray(best.read_bytes())
    damaged[-5] ^= 1
    best.write_bytes(damaged)
    ended = done(study, "--resume")
    assert "best epoch were set aside as runs/run/best.damaged.safetensors" in ended.err
    assert (run_of(study) / "best.damaged.safetensors").read_bytes() == bytes(damaged)
    assert report_of(run_of(study))["finetune"]["best_epoch"] == 2
    assert load_checkpoint(best).position.best_epoch == 2
    assert [row["epoch"] for row in history(run_of(study))] == ["1", "2", "3"]


# ---- one run, one writer -------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--resume", "--overwrite", "--quiet"])
def test_a_run_that_is_being_trained_is_left_alone_and_ends_as_if_alone(
    study: Study, whole: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    use_tiny(monkeypatch, *SPECS)
    asleep = Fault("SIGSTOP", CALLS_BEFORE + AN_EPOCH + 2)
    owner = study.folder / "runs" / ".run.owner"
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(run_finetune, *QUICK, cwd=study.folder, fault=asleep)
        pid = asleep_with(owner)
        before = contents(run_of(study))
        try:
            message = cli.refused(5, "finetune", *QUICK, option, cwd=study.folder)
            after = contents(run_of(study))
        finally:
            os.kill(pid, signal.SIGCONT)
        ended = first.result()
    assert f"is being written by process {pid} on {socket.gethostname()}." in message
    assert before == after
    assert "last.safetensors" in before
    assert ended.code == 0, ended.err
    assert course(run_of(study)) == course(whole)


def asleep_with(owner: Path) -> int:
    """Wait until the process that holds a lock was stopped, and return it; see proc(5)."""
    until = time.monotonic() + 240
    while time.monotonic() < until:
        with contextlib.suppress(OSError, ValueError):
            pid = int(json.loads(owner.read_text(encoding="utf-8"))["pid"])
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2][0]
            if state == "T":
                return pid
        time.sleep(0.05)
    pytest.fail("nobody sleeps")


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_all_ranks_leave_a_run_that_is_being_trained(study: Study) -> None:
    with writer_lock(run_of(study)):
        first, second = run_joined(2, *QUICK, cwd=study.folder)
    assert f"is being written by process {os.getpid()} on" in refused(5, first)
    assert (second.code, second.err) == (5, "")  # said once, by rank 0
    assert not run_of(study).exists()


# ---- the null control ----------------------------------------------------------------------------


def test_labels_of_other_patients_teach_nothing(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_tiny(monkeypatch, *SPECS)
    # One epoch of steps without size: the head is the logistic regression on the features.
    fitted = ("--epochs", 1, "--head-init", "probe", "--learning-rate", 1e-12, "--batch-norm",
              "frozen")  # fmt: skip

    def macro(name: str, *args: object) -> float:
        cli.done("finetune", *QUICK, *fitted, "--name", name, "-q", *args, cwd=study.folder)
        report = report_of(study.folder / "runs" / name)
        assert report["null_control"] == ("--null" in args)
        return float(report["results"][0]["evaluation"]["macro"]["value"])

    real = macro("real")
    nulls = [macro(f"null-{seed}", "--null", "--seed", seed) for seed in range(8)]
    assert real > 0.75
    assert 0.35 < sum(nulls) / len(nulls) < 0.65
    assert max(nulls) < real


def test_a_null_control_is_a_run_beside_the_real_one_and_can_be_resumed(
    study: Study, whole: Path
) -> None:
    done(study)
    unnamed = (*QUICK[:-2], "--null")
    fault = Fault("SIGTERM", CALLS_BEFORE + AN_EPOCH + 2)
    assert run_finetune(*unnamed, cwd=study.folder, fault=fault).code == 143
    null = study.folder / "runs" / "small-net-finetune-null"
    assert run_finetune(*unnamed, "--resume", cwd=study.folder).code == 0
    resumed = course(null)
    assert run_finetune(*unnamed, "--overwrite", cwd=study.folder).code == 0
    assert course(null) == resumed
    assert course(run_of(study)) == course(whole)
    assert course(null) != course(whole)
    message = refused(2, run_finetune(*QUICK, "--null", cwd=study.folder))
    assert "holds a run with other settings (null differ)" in message


# ---- what fails, fails in one line, and nothing is lost ------------------------------------------


def test_a_loss_that_is_not_finite_names_epoch_and_step(study: Study) -> None:
    fault = Fault("nan", CALLS_BEFORE + AN_EPOCH + 2)
    message = refused(6, run_finetune(*QUICK, cwd=study.folder, fault=fault))
    assert "epoch 2, step 2 of 3: the loss is nan" in message
    assert load_checkpoint(run_of(study) / "last.safetensors").position.epoch == 1
    assert len(history(run_of(study))) == 1


def test_a_full_disk_leaves_the_earlier_checkpoint(study: Study, whole: Path) -> None:
    fault = Fault("SIGTERM", CALLS_BEFORE + AN_EPOCH + 2)
    assert run_finetune(*QUICK, cwd=study.folder, fault=fault).code == 143
    before = (run_of(study) / "last.safetensors").read_bytes()
    assert len(before) > 8192
    ended = run_finetune(*QUICK, "--resume", cwd=study.folder, file_bytes=8192)
    assert "file size limit" in refused(8, ended)
    assert (run_of(study) / "last.safetensors").read_bytes() == before
    done(study, "--resume")
    assert course(run_of(study)) == course(whole)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (("-m", "other-net"), "is of another model: it holds small-net"),
        (("--class-columns", "Effusion,Cardiomegaly"), "has other classes: it was trained on"),
    ],
)
def test_a_checkpoint_of_another_model_or_classes_is_refused(
    study: Study, change: tuple[str, str], part: str
) -> None:
    fault = Fault("SIGTERM", CALLS_BEFORE + 2)
    assert run_finetune(*QUICK, cwd=study.folder, fault=fault).code == 143
    before = (run_of(study) / "last.safetensors").read_bytes()
    ended = run_finetune(*QUICK, *change, "--resume", cwd=study.folder)
    assert part in refused(6, ended)
    assert (run_of(study) / "last.safetensors").read_bytes() == before


def test_a_gpu_that_is_not_there(study: Study) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    assert "torch sees no CUDA device" in refused(
        7, run_finetune(*QUICK, "--gpus", "0", cwd=study.folder)
    )


def test_unreadable_images_are_counted_named_and_shift_nothing(study: Study) -> None:
    for name in ("p03_1", "p12_0", "p17_1"):
        (study.folder / "images" / f"{name}.png").write_bytes(b"no picture")
    ended = run_finetune(*QUICK, cwd=study.folder)
    assert ended.code == 3, ended.err
    assert "3 images could not be read" in ended.err
    report = report_of(run_of(study))
    assert [(s["used"], s["failed"]) for s in report["splits"]] == [(23, 1), (7, 1), (11, 1)]
    table = pd.read_csv(run_of(study) / "predictions-test.csv", dtype=str)
    truth = {row["Path"]: row["Effusion"] for row in study.rows("test")}
    assert "images/p17_1.png" not in set(table["image_id"])
    assert all(
        truth[one] == true
        for one, true in zip(table["image_id"], table["true_Effusion"], strict=True)
    )


# ---- several processes ---------------------------------------------------------------------------


def test_two_joined_processes_report_what_one_does(study: Study) -> None:
    frozen = ("--batch-norm", "frozen", "--augment", "none", "-m", "still-net", "--head-init",
              "probe")  # fmt: skip
    done(study, *frozen)
    first, second = run_joined(2, *QUICK, *frozen, "--output-dir", "two", cwd=study.folder)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert "epoch 3 of 3" in first.err
    assert not second.err  # one of them speaks
    alone, two = run_of(study), study.folder / "two" / "run"
    assert report_of(two)["finetune"]["ranks"] == 2
    for row, shared in zip(history(alone), history(two), strict=True):
        assert float(shared["loss"]) == pytest.approx(float(row["loss"]), rel=1e-5)
        assert float(shared["val_loss"]) == pytest.approx(float(row["val_loss"]), rel=1e-5)
    own, theirs = (pd.read_csv(folder / "predictions-test.csv") for folder in (alone, two))
    assert list(own["image_id"]) == list(theirs["image_id"])
    assert theirs["logit_Effusion"].to_numpy() == pytest.approx(
        own["logit_Effusion"].to_numpy(),
        abs=1e-5,
        rel=1e-6,  # two classes that the probe tells apart have logits of hundreds
    )


def test_joined_processes_have_their_gpus_already(study: Study) -> None:
    ended = run_joined(2, *QUICK, "--gpus", "cpu,cpu", cwd=study.folder)
    assert [one.code for one in ended] == [2, 2]
    assert "torchrun or srun has started them already" in ended[0].err
