"""Image paths as manifests write them, made fit for this machine."""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from cxrlearn.data.columns import is_image_name
from cxrlearn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_QUOTES = ("'", '"', "\u2018", "\u2019", "\u201c", "\u201d", "`")
_FILE_URL = ("file://localhost/", "file:///", "file://")


@dataclass(frozen=True)
class PathMends:
    """What `--path-prefix` and `--path-suffix` ask for."""

    prefix: str | None = None
    """`OLD=NEW`: what stands at the start of paths, and what to put there."""
    suffix: str | None = None
    """Put at the end of paths without a suffix, and in the place of another image suffix."""

    def __post_init__(self) -> None:
        """Check both.

        Raises:
            UsageError: no `=`, or a suffix that is none.
        """
        if self.prefix is not None and "=" not in self.prefix:
            raise UsageError(
                f"--path-prefix: expected OLD=NEW, such as C:/data/=images/, got {self.prefix!r}."
            )
        if self.suffix is not None and len(self.suffix.strip(".")) == 0:
            raise UsageError(f"--path-suffix: expected a suffix such as .png, got {self.suffix!r}.")

    def apply(self, paths: Sequence[str | None]) -> tuple[list[str | None], list[str]]:
        """Return the paths mended, and a notice for each way in which some were.

        Quotes around a path and `file://` before it are dropped without being asked: they are
        never part of a file's name here.
        """
        mended = list(paths)
        notices = []
        for how, step in (
            ("in quotes, which are left out", _unquoted),
            ("written as file://, which is left out", _local),
        ):
            before, mended = mended, [None if path is None else step(path) for path in mended]
            changed = [old for old, new in zip(before, mended, strict=True) if old != new]
            if changed:
                are = "path is" if len(changed) == 1 else "paths are"
                notices.append(f"{len(changed):,} image {are} {how} (such as {changed[0]!r}).")
        if self.prefix is not None:
            old, _, new = self.prefix.partition("=")
            before = mended
            mended = [None if path is None else _swapped(path, old, new) for path in before]
            if mended == before:
                notices.append(f"--path-prefix {self.prefix!r}: no image path starts with {old!r}.")
        if self.suffix is not None:
            mended = [None if path is None else _suffixed(path, self.suffix) for path in mended]
        return mended, notices


def _unquoted(path: str) -> str:
    quoted = path[0] in _QUOTES and path[-1] in _QUOTES and len(path) > 2
    return path[1:-1].strip() if quoted else path


def _local(path: str) -> str:
    if "://" not in path:
        return path
    start = next((start for start in _FILE_URL if path.casefold().startswith(start)), None)
    if start is None:
        return path
    rest = urllib.parse.unquote(path[len(start) :])
    has_drive = rest[1:2] == ":" or start == "file://"
    return rest if has_drive else f"/{rest}"


def _swapped(path: str, old: str, new: str) -> str:
    """Replace the start of a path; backslashes and slashes are one sign."""
    plain, start = path.replace("\\", "/"), old.replace("\\", "/")
    return new + plain.removeprefix(start) if plain.startswith(start) else path


def _suffixed(path: str, suffix: str) -> str:
    stem = path[: -len(PurePosixPath(path).suffix)] if is_image_name(path) else path
    return f"{stem.rstrip('.')}.{suffix.lstrip('.')}"
