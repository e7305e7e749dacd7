"""The commented `cxrlearn.toml` that `cxrlearn init` writes and the demo fills in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cxrlearn.errors import UsageError
from cxrlearn.runtime.atomic import write_text

if TYPE_CHECKING:
    from pathlib import Path

TEMPLATE = """\
# Settings of cxrlearn: keys are option names with _ for -. What is typed on the command line, and
# environment variables such as CXRLEARN_DEVICE, come before this file; paths are relative to it.

[data]
{data}
[embed]
# Any name of `cxrlearn models list`; several are decoded in one pass: ["chexzero", "convirt"].
# Without one here, --model names it, and probe takes the only file in the features folder.
{model}
# batch_size = 32
# device = "auto"            # auto, cpu, cuda:0, mps
# output_dir = "features"

[probe]
# The backbone of [embed] is used, with its weights and precision, unless one is named here.
# C = "auto"                 # chosen on the validation split; or a number
# output_dir = "runs"

[finetune]
# The backbone of [embed] is used, with its weights, unless one is named here.
# epochs = 100
# batch_size = 32            # over all GPUs together
# learning_rate = 1e-3
# optimizer = "sgd"          # or "adamw", with layer_decay = 0.75 and warmup_epochs = 1
# cache_dir = "cache"        # decoded images, for the next epoch and the next run
"""

BLANK_DATA = """\
train_csv = "train.csv"
val_csv = "val.csv"          # every choice is made here, never on test
test_csv = "test.csv"        # several: ["internal=test.csv", "external=other.csv"]
# csv = "all.csv"            # instead of the three: by its split column, or 70/10/20 by patient
# image_root = "images"      # default: the folder of each csv
# path_column = "Path"
# path_prefix = "C:/data/=images/"   # paths that start with C:/data/ are in images/
# path_suffix = ".jpg"       # for paths without a suffix, or with another
# patient_column = "patient_id"
class_columns = ["Cardiomegaly", "Effusion"]   # put your label columns here
# positive = "Yes"           # for labels in words
# label_separator = "|"      # for one column of findings such as Effusion|Mass
# blank = "mask"             # what a blank label means: mask or zeros
# uncertain = "mask"         # what -1 means: mask, zeros or ones
"""


def write_settings(path: Path, *, data: str = BLANK_DATA, model: str | None = None) -> None:
    """Write a settings file.

    Args:
        path: where.
        data: the lines of `[data]`.
        model: that of `[embed]`; None names none.

    Raises:
        UsageError: there is one already; it is left alone.
        DiskError: it cannot be written.
    """
    if path.exists():
        raise UsageError(
            f"{path} is there already and was left alone. Edit it, or move it away first."
        )
    line = '# model = "chexzero"' if model is None else f"model = {json.dumps(model)}"
    write_text(path, TEMPLATE.format(data=data, model=line), step="settings")
