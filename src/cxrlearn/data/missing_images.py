"""Images that are not where a manifest says, and are there under nearly that name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from cxrlearn.data.columns import is_image_name
from cxrlearn.data.image_ids import path_on_disk
from cxrlearn.data.path_mends import PathMends

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cxrlearn.data.manifest import Manifest

_LOOKED_AT = 32
_CASE = "upper and lower case"
_FOLDERS = 50  # most folders beside and below the image root that are searched


@dataclass(frozen=True)
class _Find:
    """Where one image is, and the options that would lead there."""

    file: Path
    root: Path | None = None
    prefix: str | None = None
    suffix: str | None = None
    case: bool = False

    def mends(self, written: Sequence[str], root: Path) -> int:
        """Return how many images the options find."""
        base = self.root or root
        found, _ = PathMends(self.prefix, self.suffix).apply(written)
        return sum(path is not None and path_on_disk(path, base).exists() for path in found)

    def sentence(self, written: str) -> str:
        """Say what differs, and which options mend it."""
        differs, options = [], []
        if self.root is not None:
            differs.append("in another folder")
            options.append(f"--image-root {self.root}")
        if self.prefix is not None:
            old, _, new = self.prefix.casefold().partition("=")
            same = old.removeprefix("./") == new
            differs.append(f"in a folder of other {_CASE}" if same else "in another folder")
            options.append(f"--path-prefix '{self.prefix}'")
        if self.suffix is not None:
            there = f"with the suffix {self.suffix}"
            differs.append(there if is_image_name(written) else f"{there}, which the path lacks")
            options.append(f"--path-suffix {self.suffix}")
        if self.case:
            differs.append(f"in other {_CASE}")
        mend = " ".join(options) or "write the paths as the files are called"
        return f"the file is there {' and '.join(differs)} ({self.file}): {mend}"


def missing_images_hint(manifest: Manifest) -> str | None:
    """Return a sentence if some of 32 images are not there but have been found elsewhere.

    If none of the 32 is there, the sentence says so wherever they are. The 32 are spread evenly
    over the manifest.
    """
    _names.cache_clear()  # files come and go between two looks
    step = max(1, len(manifest) // _LOOKED_AT)
    looked_at = list(range(0, len(manifest), step))[:_LOOKED_AT]
    missing = [index for index in looked_at if not manifest.paths[index].exists()]
    if not missing or manifest.file is None:
        return None
    all_written, _ = PathMends().apply(list(manifest.table[manifest.columns.path]))
    written = [all_written[index] or "" for index in missing]
    first = manifest.paths[missing[0]]
    count = f"none of {len(looked_at)}" if len(missing) == len(looked_at) else f"{len(missing)}"
    start = (
        f"{manifest.file}: {count} images looked at {'is' if count[0] == 'n' else 'are not'} there,"
        f" such as {first}"
    )
    finds = list(_finds(written[0], manifest.image_root))
    if finds:
        best = max(finds, key=lambda find: find.mends(written, manifest.image_root))
        return f"{start}; {best.sentence(written[0])}."
    if len(missing) < len(looked_at):
        return None  # each of them is named where it is read
    return f"{start}: say with --image-root which folder the paths start from."


def _finds(written: str, root: Path) -> Iterator[_Find]:
    """Search the image root and the folders around it for a file of nearly this name."""
    parts = [part for part in written.replace("\\", "/").split("/") if part not in {"", "."}]
    absolute = written[:1] in {"/", "\\"} or written[1:2] == ":"
    for base in _bases(root):
        for drop in range(len(parts)):
            found = _nearest(base, parts[drop:])
            if found is not None:
                yield _options(written, found, base, root, whole=not absolute and drop == 0)
                break


def _bases(root: Path) -> Iterator[Path]:
    yield root
    yield from _folders(root)
    yield from list(root.absolute().parents)[:3]
    yield from _folders(root.absolute().parent)


def _folders(folder: Path) -> list[Path]:
    try:
        below = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    except OSError:
        return []
    return below[:_FOLDERS]


def _nearest(base: Path, parts: Sequence[str]) -> Path | None:
    """Return the file at `parts` below `base`, in any case and with any image suffix."""
    at = base
    for part in parts[:-1]:
        name = part if part == ".." else _called(at, part)
        if name is None:
            return None
        at /= name
    name = _called(at, parts[-1]) or _of_other_suffix(at, parts[-1])
    return None if name is None or not (at / name).is_file() else at / name


def _called(folder: Path, name: str) -> str | None:
    if (folder / name).exists():
        return name
    return _names(folder)[0].get(name.casefold())


def _of_other_suffix(folder: Path, name: str) -> str | None:
    stem = PurePosixPath(name).stem if is_image_name(name) else name
    return _names(folder)[1].get(stem.casefold())


@lru_cache(maxsize=64)
def _names(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return what is in a folder, by name and, for images, by stem; without regard to case."""
    try:
        names = sorted((entry.name for entry in folder.iterdir()), reverse=True)
    except OSError:
        return {}, {}
    stems = {PurePosixPath(name).stem.casefold(): name for name in names if is_image_name(name)}
    return {name.casefold(): name for name in names}, stems


def _options(written: str, found: Path, base: Path, root: Path, *, whole: bool) -> _Find:
    """Compare a path as written with where the file is."""
    plain = written.replace("\\", "/")
    name = PurePosixPath(plain).name
    suffix = None
    if is_image_name(found.name) and PurePosixPath(name).suffix != found.suffix:
        suffix = found.suffix if _stem(name) == found.stem else None
    same_name = name == found.name or suffix is not None
    if whole and base != root:
        return _Find(found, root=base, suffix=suffix, case=not same_name)
    there = os.path.relpath(found, root)
    if there.startswith("../../.."):
        there = str(found.absolute())
    old, new = plain.split("/")[:-1], there.replace(os.sep, "/").split("/")[:-1]
    while old and new and old[-1] == new[-1]:
        old.pop()
        new.pop()
    prefix = None
    if old != new and same_name:
        prefix = "".join(f"{part}/" for part in old) + "=" + "".join(f"{part}/" for part in new)
    return _Find(found, prefix=prefix, suffix=suffix, case=not same_name)


def _stem(name: str) -> str:
    return PurePosixPath(name).stem if is_image_name(name) else name
