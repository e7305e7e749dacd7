"""Overlays of predictions: which parts of a picture a score is sensitive to, as PNG files."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from cxrlearn.runtime.atomic import disk_errors, replace_file, write_text
from cxrlearn.runtime.outputs import beginning, refuse_to_overwrite

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from cxrlearn.backbones.saliency import Saliency
    from cxrlearn.backbones.trainable import TrainableModel
    from cxrlearn.data.images import Intensity
    from cxrlearn.data.manifest import Manifest
    from cxrlearn.runtime.events import Reporter
    from cxrlearn.workflows.predict_table import PredictionTable

CAUTION = (
    "Sensitive, not proven: a map shows what the score reacts to, and is no evidence that the "
    "score is right or that a finding lies there."
)
LIST = "saliency.csv"
_HEADER = ("file", "image_id", "label", "probability", "method")
_SIDE = 448
"""Least length of an overlay's longer side; smaller pictures are enlarged."""
_STRIP = 34
"""Rows below the picture for the words."""
_MOST_COLOUR = 0.55
"""Share of the colour where the map is 1; the film stays to be seen."""


@dataclass(frozen=True)
class Explained:
    """One picture with its map."""

    picture: NDArray[np.uint8]
    """(h, w) grey, as the network gets it."""
    saliency: Saliency
    """The map."""
    label: str
    """Whose score."""
    probability: float
    """Of the label."""


def draw_saliency(
    model: TrainableModel,
    manifest: Manifest,
    table: PredictionTable,
    folder: Path,
    *,
    label: str | None,
    intensity: Intensity,
    reporter: Reporter,
) -> int:
    """Write an overlay of every image that has a prediction, and a list of them.

    Args:
        model: gives the scores that are explained.
        manifest: the images.
        table: their predictions.
        folder: where overlays go.
        label: whose score; None: the most probable label of each image.
        intensity: how files of more than 8 bits become grey.
        reporter: shows progress.

    Returns:
        The number of overlays.

    Raises:
        DiskError: a file cannot be written.
        UsageError: a file in the folder has the name of an overlay and is none.
    """
    from cxrlearn.backbones.preprocessing import apply_steps
    from cxrlearn.backbones.saliency import saliency_map
    from cxrlearn.data.images import read_radiograph

    with disk_errors(folder, "No overlay was drawn."):
        folder.mkdir(parents=True, exist_ok=True)
    listed = [_HEADER]
    chosen = _chosen(table, label)
    names = [_file_name(row, table.image_ids[row], table.labels[place]) for row, place in chosen]
    for name in (*names, LIST):
        refuse_to_overwrite(folder / name, _is_ours, command="predict", option="--saliency")
    with reporter.progress("drawing overlays", len(chosen)) as progress:
        for (row, place), file in zip(chosen, names, strict=True):
            read = read_radiograph(manifest.paths[row], intensity=intensity)
            picture = apply_steps(read.pixels, model.record.preprocessing)
            found = saliency_map(model, picture, place)
            name = table.labels[place]
            probability = float(table.probabilities[row, place])
            explained = Explained(picture, found, name, probability)
            replace_file(folder / file, partial(_save, explained), step="overlay")
            listed.append((file, table.image_ids[row], name, repr(probability), found.method))
            progress.advance()
    write_text(folder / LIST, _csv(listed), step="saliency")
    return len(chosen)


def _is_ours(file: Path) -> bool:
    """Tell whether a file is an overlay, or a list of them."""
    if file.name == LIST:
        return beginning(file).startswith(",".join(_HEADER) + "\n")
    try:
        with Image.open(file) as image:
            return image.info.get("Comment") == CAUTION
    except OSError:
        return False


def _chosen(table: PredictionTable, label: str | None) -> list[tuple[int, int]]:
    """Return (row, label number) of every picture to draw."""
    filled = np.nan_to_num(table.probabilities, nan=-1.0)
    places = (
        filled.argmax(axis=1) if label is None else np.full(len(filled), table.labels.index(label))
    )
    return [(row, int(place)) for row, place in enumerate(places) if filled[row, place] >= 0]


def overlay(explained: Explained) -> Image.Image:
    """Draw a map in colour over its picture, with label, probability and caution below.

    Returns:
        RGB, at least 448 pixels wide or high; where the map is 0 the film is as it was.
    """
    from matplotlib import colormaps

    heat = explained.saliency.values[..., None]
    colour = 255 * colormaps["inferno"](explained.saliency.values)[..., :3]
    share = _MOST_COLOUR * heat
    mixed = (1 - share) * explained.picture[..., None] + share * colour
    image = Image.fromarray(np.rint(mixed).astype(np.uint8))
    factor = max(1, -(-_SIDE // max(image.size)))
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.BILINEAR)
    canvas = Image.new("RGB", (image.width, image.height + _STRIP))
    canvas.paste(image)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=12)
    found = explained.saliency
    method = found.method if found.values.any() else f"{found.method}: nothing raises it"
    words = f"{explained.label}: {explained.probability:.3f}   ({method})"
    draw.text((4, image.height + 2), _drawable(words), "white", font)
    draw.text(
        (4, image.height + 17), "What the score reacts to; no evidence of a finding.", "grey", font
    )
    return canvas


def _save(explained: Explained, file: Path) -> None:
    about = PngInfo()
    about.add_itxt("Label", explained.label)
    about.add_text("Probability", repr(explained.probability))
    about.add_text("Method", explained.saliency.method)
    about.add_text("Comment", CAUTION)
    overlay(explained).save(file, "PNG", pnginfo=about)


def _drawable(text: str) -> str:
    """Replace what the built-in font has no sign for."""
    return "".join(sign if sign.isprintable() and ord(sign) < 0x250 else "?" for sign in text)


def _file_name(row: int, image_id: str, label: str) -> str:
    """Return a name that is told apart by its number, and readable where the id allows it."""
    stem = image_id.rpartition("/")[2].rpartition(".")[0] or image_id.rpartition("/")[2]
    parts = (re.sub(r"[^A-Za-z0-9._-]+", "-", part)[:60].strip("-.") for part in (stem, label))
    return "-".join((f"{row + 1:05d}", *parts)) + ".png"


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
