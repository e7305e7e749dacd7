"""Every option, once: its type, its help text and the panel it stands in.

All default to None, which means "not given": defaults belong to the config dataclasses, so that the
settings file and the environment can stand between the two. Numbers are text here: they are
converted with the settings of the file and the environment, and all problems are told together.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

DATA, LABELS, BACKBONE = "Data", "Labels", "Backbone"
COMPUTE, PROBE, OUTPUT = "Computation", "Probe", "Output"
EVALUATION, CURVE = "Evaluation", "Label efficiency"
PREDICTION = "Prediction"


def _option(
    panel: str, help_text: str, *names: str, metavar: str | None = None
) -> typer.models.OptionInfo:
    """Describe an option. Give its name where the metavar is the same word.

    Typer 0.27 takes the spelling of an option without a name from such a metavar: `--DEVICE`.
    """
    literal = help_text.replace(
        "[", r"\["
    )  # Rich would take "[default: 1]" for a style and drop it
    option: typer.models.OptionInfo = typer.Option(
        *names, help=literal, rich_help_panel=panel, metavar=metavar, show_default=False
    )
    return option


Csv = Annotated[
    Path | None,
    _option(
        DATA,
        "One manifest, a row an image; `probe` splits it by its split column, else 70/10/20 by patient.",
        metavar="FILE",
    ),
]
TrainCsv = Annotated[Path | None, _option(DATA, "Manifest of the training images.", metavar="FILE")]
ValCsv = Annotated[
    Path | None,
    _option(DATA, "Manifest of the validation images; every choice is made here.", metavar="FILE"),
]
TestCsv = Annotated[
    list[str] | None,
    _option(DATA, "Manifest of a test set; repeat for several.", metavar="[NAME=]FILE"),
]
Images = Annotated[
    Path | None,
    _option(DATA, "Embed every image below this folder; no manifest needed.", metavar="DIR"),
]
ImageRoot = Annotated[
    Path | None,
    _option(
        DATA,
        "Folder the paths of the manifest are relative to. [default: the manifest's folder]",
        metavar="DIR",
    ),
]
PathColumn = Annotated[
    str | None,
    _option(
        DATA,
        "Column with the image paths. [default: found by name: Path, image, filename, …]",
        metavar="COLUMN",
    ),
]
PathPrefix = Annotated[
    str | None,
    _option(
        DATA,
        "Replace OLD at the start of every image path by NEW, such as C:/data=images.",
        metavar="OLD=NEW",
    ),
]
PathSuffix = Annotated[
    str | None,
    _option(
        DATA,
        "Suffix of the image files, such as .jpg: added to paths without one, replacing any other.",
        metavar=".EXT",
    ),
]
SplitColumn = Annotated[
    str | None,
    _option(
        DATA, "Column of --csv that says train, val or test. [default: split]", metavar="COLUMN"
    ),
]
SplitByImage = Annotated[
    bool | None, _option(DATA, "Allow a random split without a patient column.", "--split-by-image")
]
PatientColumn = Annotated[
    str | None,
    _option(
        DATA,
        "Column with patient ids; `none` turns it off. [default: found by name]",
        metavar="COLUMN",
    ),
]
Intensity = Annotated[
    str | None,
    _option(
        DATA,
        "How 16-bit files and DICOM without a window become grey: the image's own percentiles or minmax. [default: percentile]",
        metavar="RULE",
    ),
]
Strict = Annotated[
    bool | None,
    _option(DATA, "Make a patient in two splits an error instead of a warning.", "--strict"),
]
Limit = Annotated[
    str | None,
    _option(DATA, "Use the first N rows of each manifest only: for a quick try.", metavar="N"),
]

ClassColumns = Annotated[
    list[str] | None,
    _option(LABELS, "Label columns; repeat, or separate by commas.", metavar="COLUMN,…"),
]
Task = Annotated[
    str | None,
    _option(
        LABELS, "auto, binary, multilabel or multiclass. [default: auto]", "--task", metavar="TASK"
    ),
]
Positive = Annotated[
    str | None,
    _option(
        LABELS,
        "Which of two text values is the positive one, in every label column.",
        metavar="VALUE",
    ),
]
LabelSeparator = Annotated[
    str | None,
    _option(
        LABELS,
        "Sign between the findings of one cell, such as '|': each finding becomes a label.",
        metavar="SIGN",
    ),
]
Blank = Annotated[
    str | None,
    _option(LABELS, "What a blank label means: mask or zeros. [default: mask]", metavar="RULE"),
]
Uncertain = Annotated[
    str | None,
    _option(LABELS, "What -1 means: mask, zeros or ones. [default: mask]", metavar="RULE"),
]
NumClasses = Annotated[
    str | None, _option(LABELS, "Check: the number of classes that must be found.", metavar="N")
]

Model = Annotated[
    str | None,
    _option(
        BACKBONE,
        "Backbone, as `cxrlearn models list` names it. "
        "[default: that of [embed], else that of the only feature file]",
        "--model",
        "-m",
        metavar="NAME",
    ),
]
Models = Annotated[
    list[str] | None,
    _option(
        BACKBONE,
        "Backbone, as `cxrlearn models list` names it; repeat to decode each image once for several.",
        "--model",
        "-m",
        metavar="NAME",
    ),
]
Arch = Annotated[
    str | None,
    _option(
        BACKBONE,
        "Variant of the architecture, such as resnet18. [default: resnet50 where there is a choice]",
        metavar="NAME",
    ),
]
PretrainedOn = Annotated[
    str | None,
    _option(
        BACKBONE,
        "Variant of the weights, by their pretraining data. [default: mimic-cxr where there is a choice]",
        metavar="NAME",
    ),
]
Features = Annotated[
    str | None,
    _option(
        BACKBONE,
        "Which feature of the backbone. [default: the one its authors transfer]",
        metavar="ID",
    ),
]
Weights = Annotated[
    list[str] | None,
    _option(
        BACKBONE,
        "Weight file, or folder to look in. [default: $CXRLEARN_WEIGHTS_DIR, ./pretrained]",
        metavar="[NAME=]FILE",
    ),
]
Preprocessing = Annotated[
    str | None,
    _option(
        BACKBONE,
        "Rule for the pixels, as `cxrlearn models show NAME` lists them; original is the uniform one "
        "of the original benchmark. [default: published]",
        metavar="RULE",
    ),
]
RandomWeights = Annotated[
    str | None,
    _option(BACKBONE, "Use random weights of this seed, marked in every result.", metavar="SEED"),
]
Offline = Annotated[bool | None, _option(BACKBONE, "Never download anything.", "--offline")]

Device = Annotated[
    str | None,
    _option(
        COMPUTE, "auto, cpu, cuda, cuda:N or mps. [default: auto]", "--device", metavar="DEVICE"
    ),
]
Gpus = Annotated[
    list[str] | None,
    _option(COMPUTE, "Start one worker each, such as 0,1 or cpu,cpu.", metavar="N,…"),
]
BatchSize = Annotated[str | None, _option(COMPUTE, "Images in a batch. [default: 32]", metavar="N")]
Workers = Annotated[
    str | None,
    _option(COMPUTE, "Processes that decode images. [default: usable cores]", metavar="N"),
]
Precision = Annotated[
    str | None,
    _option(
        COMPUTE,
        "auto, fp32, bf16 or fp16. [default: bf16 on recent GPUs, else fp32]",
        metavar="NAME",
    ),
]
Store = Annotated[
    str | None, _option(COMPUTE, "float32 or float16, on disk. [default: float32]", metavar="NAME")
]
VerifyContent = Annotated[
    bool | None,
    _option(
        COMPUTE, "Hash every image again instead of trusting size and time.", "--verify-content"
    ),
]
AllowFailures = Annotated[
    bool | None,
    _option(COMPUTE, "Exit 0 although some images could not be read.", "--allow-failures"),
]

UseLogreg = Annotated[
    bool | None,
    _option(PROBE, "Logistic regression on cached features; the default.", "--use-logreg"),
]
Linear = Annotated[
    bool | None,
    _option(PROBE, "A linear layer trained by gradient descent instead.", "--linear"),
]
Knn = Annotated[bool | None, _option(PROBE, "Nearest neighbours instead.", "--knn")]
Solver = Annotated[
    str | None,
    _option(
        PROBE,
        "Of logistic regression: batched (all labels and C at once, certified) or sklearn. [default: batched]",
        metavar="NAME",
    ),
]
ClassWeight = Annotated[
    str | None,
    _option(
        PROBE,
        "none, or balanced: both classes of a label count alike. [default: none]",
        metavar="RULE",
    ),
]
Standardize = Annotated[
    bool | None,
    _option(
        PROBE, "Divide each feature by its standard deviation in train first.", "--standardize"
    ),
]
LearningRate = Annotated[
    list[str] | None,
    _option(
        PROBE,
        "Of --linear; several are tried side by side. [default: 1e-4 to 1e-1 with a validation split, else 1e-3]",
        metavar="RATE,…",
    ),
]
Epochs = Annotated[
    str | None, _option(PROBE, "Most epochs of --linear. [default: 100]", metavar="N")
]
Neighbours = Annotated[
    str | None,
    _option(
        PROBE, "Neighbours of --knn. [default: chosen on validation, else 20]", "--k", metavar="N"
    ),
]
TrainFraction = Annotated[
    list[str] | None,
    _option(
        CURVE,
        "Also fit on these shares of the training patients, such as 0.01,0.1,1.",
        metavar="SHARE,…",
    ),
]
FewShot = Annotated[
    list[str] | None,
    _option(
        CURVE,
        "Also fit on this many positive and negative patients of each label.",
        metavar="N,…",
    ),
]
Repeats = Annotated[
    str | None, _option(CURVE, "Random subsets of each size. [default: 5]", metavar="N")
]
OperatingPoint = Annotated[
    list[str] | None,
    _option(
        EVALUATION,
        "How validation chooses thresholds: youden, or sensitivity>=0.9 and the like. [default: youden]",
        metavar="RULE",
    ),
]
Subgroup = Annotated[
    list[str] | None,
    _option(
        EVALUATION,
        "Column whose values divide results; `none` for none. [default: sex, age, view where found]",
        metavar="COLUMN,…",
    ),
]
FloorColumns = Annotated[
    list[str] | None,
    _option(
        EVALUATION,
        "Columns of the metadata baseline; `none` for no baseline. [default: age, sex, view where found]",
        metavar="COLUMN,…",
    ),
]
AggregateBy = Annotated[
    str | None,
    _option(
        EVALUATION,
        "Evaluate one prediction for each `patient`, or for each value of a column such as a study id.",
        metavar="COLUMN",
    ),
]
Aggregate = Annotated[
    str | None,
    _option(EVALUATION, "mean or max, for --aggregate-by. [default: mean]", metavar="RULE"),
]
Origin = Annotated[
    list[str] | None,
    _option(
        EVALUATION,
        "Public dataset the images come from, to find what a backbone has seen before: nih, chexpert, mimic-cxr, rsna, …",
        metavar="NAME,…",
    ),
]
Null = Annotated[
    bool | None,
    _option(
        EVALUATION,
        "Label-permutation control: permute the labels of train and validation by patient. An AUROC that stays on one side of 0.5 over several seeds points to a leak.",
        "--null",
    ),
]
MemoryLimit = Annotated[
    str | None,
    _option(
        COMPUTE,
        "GiB of memory; larger training features are read from disk as needed. [default: what is free]",
        metavar="GIB",
    ),
]
C = Annotated[
    str | None,
    _option(
        PROBE,
        "Inverse regularisation strength, or auto: chosen on validation. [default: auto with a validation split, else 0.0327; multi-class 0.316]",
        "--C",
        metavar="C",
    ),
]
MaxIter = Annotated[
    str | None, _option(PROBE, "Most iterations of the solver. [default: 500]", metavar="N")
]
Seed = Annotated[
    str | None,
    _option(EVALUATION, "Seed of everything that is drawn. [default: 0]", metavar="N"),
]

FeaturesDir = Annotated[
    Path | None, _option(OUTPUT, "Where feature files are. [default: features]", metavar="DIR")
]
OutputDir = Annotated[
    Path | None,
    _option(OUTPUT, "Where results go. [default: embed: features, probe: runs]", metavar="DIR"),
]
Name = Annotated[
    str | None, _option(OUTPUT, "Name of the run. [default: TAG-PROBE]", "--name", metavar="NAME")
]
Overwrite = Annotated[
    bool | None,
    _option(OUTPUT, "Overwrite a run of the same name with other settings.", "--overwrite"),
]
Run = Annotated[
    str | None,
    _option(
        PREDICTION, "Finished run: its folder, or its name in --output-dir.", "--run", metavar="RUN"
    ),
]
NewCsv = Annotated[
    Path | None, _option(DATA, "Manifest of the new images, a row an image.", metavar="FILE")
]
NewImages = Annotated[
    Path | None,
    _option(DATA, "Take every image below this folder; no manifest needed.", metavar="DIR"),
]
Saliency = Annotated[
    Path | None,
    _option(
        PREDICTION,
        "Draw here, over every image, what its score reacts to. No evidence that the score is right.",
        metavar="DIR",
    ),
]
SaliencyLabel = Annotated[
    str | None,
    _option(
        PREDICTION, "Label that overlays explain. [default: the most probable]", metavar="LABEL"
    ),
]
Predictions = Annotated[
    Path | None,
    _option(
        OUTPUT,
        "Where predictions go: .csv or .parquet. [default: predictions.csv]",
        "--output",
        "-o",
        metavar="FILE",
    ),
]
OverwritePredictions = Annotated[
    bool | None, _option(OUTPUT, "Overwrite predictions and overlays.", "--overwrite")
]
RunsDir = Annotated[
    Path | None,
    _option(OUTPUT, "Where runs are. [default: runs]", "--output-dir", metavar="DIR"),
]
Config = Annotated[
    Path | None,
    _option(OUTPUT, "Settings file. [default: ./cxrlearn.toml, if there]", metavar="FILE"),
]
ShowConfig = Annotated[
    bool,
    typer.Option(
        "--show-config",
        help="Print the resolved settings and their origin, and stop.",
        rich_help_panel=OUTPUT,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Say warnings and errors only.", rich_help_panel=OUTPUT),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", help="Show every table, subgroups too.", rich_help_panel=OUTPUT
    ),
]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show the traceback behind an error.", rich_help_panel=OUTPUT),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on stdout.", rich_help_panel=OUTPUT)
]

# ---- finetune

TRAINING = "Training"

FinetuneFeatures = Annotated[
    str | None,
    _option(
        BACKBONE,
        "Which feature the head takes. [default: the one its authors transfer]",
        "--features",
        metavar="ID",
    ),
]
Optimizer = Annotated[str | None, _option(TRAINING, "sgd or adamw. [default: sgd]", metavar="NAME")]
Rate = Annotated[
    str | None,
    _option(
        TRAINING,
        "Learning rate at the height of the schedule. [default: 1e-3]",
        "--learning-rate",
        metavar="RATE",
    ),
]
Momentum = Annotated[
    str | None, _option(TRAINING, "Of --optimizer sgd. [default: 0.9]", metavar="SHARE")
]
WeightDecay = Annotated[
    str | None,
    _option(
        TRAINING, "Of matrices and kernels, not of biases and norms. [default: 0]", metavar="X"
    ),
]
LayerDecay = Annotated[
    str | None,
    _option(
        TRAINING,
        "Each layer towards the image learns at this share of the rate above it. [default: 1]",
        metavar="SHARE",
    ),
]
TrainEpochs = Annotated[
    str | None, _option(TRAINING, "Most epochs. [default: 100]", "--epochs", metavar="N")
]
TrainBatch = Annotated[
    str | None,
    _option(
        TRAINING,
        "Images of a step, over all GPUs together. [default: 32]",
        "--batch-size",
        metavar="N",
    ),
]
Accumulate = Annotated[
    str | None,
    _option(TRAINING, "Cut each batch into N parts to save memory. [default: 1]", metavar="N"),
]
Schedule = Annotated[
    str | None,
    _option(TRAINING, "cosine or constant: how the rate falls. [default: cosine]", metavar="NAME"),
]
WarmupEpochs = Annotated[
    str | None,
    _option(TRAINING, "Epochs over which the rate rises at first. [default: 0]", metavar="N"),
]
ClipNorm = Annotated[
    str | None,
    _option(TRAINING, "Scale gradients down to this norm. [default: no clipping]", metavar="X"),
]
Patience = Annotated[
    str | None,
    _option(
        TRAINING,
        "Stop after so many epochs without a better validation AUROC; 0: never. [default: 15]",
        metavar="N",
    ),
]
HeadInit = Annotated[
    str | None,
    _option(
        TRAINING,
        "random, or probe: the head starts as the logistic regression on the frozen features. "
        "[default: random]",
        metavar="RULE",
    ),
]
PosWeight = Annotated[
    str | None,
    _option(
        TRAINING,
        "none, or balanced: both classes of a label count alike. [default: none]",
        metavar="RULE",
    ),
]
FreezeTo = Annotated[
    str | None,
    _option(
        TRAINING,
        "Keep this module of the network, and all before it, as they are: layer3, blocks.5, …",
        metavar="MODULE",
    ),
]
FreezeBackbone = Annotated[
    bool | None, _option(TRAINING, "Train the head only.", "--freeze-backbone")
]
BatchNorm = Annotated[
    str | None,
    _option(
        TRAINING,
        "sync, local or frozen. [default: sync on several GPUs, frozen on several CPU ranks, else local]",
        metavar="MODE",
    ),
]
Augment = Annotated[
    str | None,
    _option(
        TRAINING,
        "light (small turns, shifts and exposures, no mirror images) or none. [default: light]",
        metavar="RULE",
    ),
]
Seeds = Annotated[
    str | None,
    _option(
        TRAINING,
        "Train N times with seeds of their own and show the spread. [default: 1]",
        metavar="N",
    ),
]
Deterministic = Annotated[
    bool | None,
    _option(TRAINING, "The same bits every time, also on GPUs; slower.", "--deterministic"),
]
SaveEvery = Annotated[
    str | None,
    _option(TRAINING, "Also save after every N steps of an epoch.", metavar="N"),
]
Resume = Annotated[
    bool | None,
    _option(TRAINING, "Go on where the run of this name was stopped.", "--resume"),
]
MaxRestarts = Annotated[
    str | None,
    _option(
        TRAINING,
        "Go on from the last checkpoint by itself when a worker of --gpus died. [default: 0]",
        metavar="N",
    ),
]
Tensorboard = Annotated[
    bool | None,
    _option(OUTPUT, "Also write logs for TensorBoard, which has to be installed.", "--tensorboard"),
]
TrainPrecision = Annotated[
    str | None,
    _option(
        COMPUTE,
        "auto, fp32 or bf16. [default: bf16 on recent GPUs, else fp32]",
        "--precision",
        metavar="NAME",
    ),
]
CacheDir = Annotated[
    Path | None,
    _option(
        COMPUTE,
        "Keep decoded, resized images here, for the next epoch and the next run.",
        metavar="DIR",
    ),
]


def given(parameters: Mapping[str, object]) -> dict[str, object]:
    """Return the options that were typed; lists become tuples, as `settings.convert` expects."""
    return {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in parameters.items()
        if value is not None and value not in ([], ())
    }
