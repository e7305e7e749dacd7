"""Opening a feature file: its checksums, its format and its version are right, or it is refused."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import h5py
import numpy as np

from cxrlearn.errors import FeatureFileError, OtherFileError
from cxrlearn.features.checked import BLOCK, CheckedFile, DamagedError, NotSealedError
from cxrlearn.features.fingerprint import Fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT = "cxrlearn-features"
VERSION = 2
_REQUIRED = ("content_hash", "size", "mtime_ns", "failed/image_id", "failed/reason")
_AGAIN = "Delete it and run `cxrlearn embed` again."


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open a feature file for reading.

    Raises:
        FeatureFileError: it is missing, damaged, or not a feature file of this version.
    """
    with checked(path) as content:
        try:
            with h5py.File(content, "r") as file:
                _check_format(path, file)
                yield file
        except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            why = content.damage or error  # HDF5 says of a failed read only that it failed
            raise FeatureFileError(f"{path} is damaged ({why}). {_AGAIN}") from error


@contextmanager
def checked(path: Path) -> Iterator[CheckedFile]:
    """Open the bytes of a feature file; they are compared with its checksums as they are read.

    Raises:
        FeatureFileError: it is missing, damaged, or does not end with checksums.
    """
    if not path.is_file():
        raise FeatureFileError(f"no feature file {path}. `cxrlearn embed` writes it.")
    try:
        with CheckedFile(path) as content:
            yield content
    except NotSealedError as error:
        raise _why_not_sealed(path) from error
    except PermissionError as error:
        raise FeatureFileError(f"{path} may not be read: permission denied.") from error
    except DamagedError as error:
        raise FeatureFileError(f"{path} is damaged ({error}). {_AGAIN}") from error
    except OSError as error:
        raise FeatureFileError(f"cannot read {path}: {error.strerror or error}.") from error


def _why_not_sealed(path: Path) -> FeatureFileError:
    """Say what a file without checksums is; none of its features are used."""
    try:
        with h5py.File(path, "r") as file:
            name, version = file.attrs.get("format"), file.attrs.get("version")
    except (KeyError, OSError, RuntimeError, TypeError, ValueError):
        return _unreadable(path)
    if not isinstance(name, str) or name != FORMAT:
        return _foreign(path)
    if not isinstance(version, (int, np.integer)):
        return FeatureFileError(f"{path} is damaged (it has no format version). {_AGAIN}")
    if version > VERSION:
        return _newer(path, int(version))
    if version < VERSION:
        return OtherFileError(
            f"{path} has format version {version}, which has no checksums: damage to its features "
            f"would go unnoticed. {_AGAIN}"
        )
    return FeatureFileError(
        f"{path} is damaged (its checksums are missing: it was cut short or changed). {_AGAIN}"
    )


def _unreadable(path: Path) -> FeatureFileError:
    """Advise to delete only what cxrlearn has written: its format is named near the beginning."""
    with path.open("rb") as file:
        ours = FORMAT.encode() in file.read(BLOCK)
    if ours:
        return FeatureFileError(f"{path} is damaged (cut short, perhaps). {_AGAIN}")
    return FeatureFileError(
        f"{path} is damaged or no HDF5 file. If `cxrlearn embed` wrote it, move it away and run "
        "the command again."
    )


def _foreign(path: Path) -> OtherFileError:
    return OtherFileError(f"{path} is an HDF5 file, but no feature file of cxrlearn.")


def _newer(path: Path, version: int) -> OtherFileError:
    return OtherFileError(
        f"{path} has format version {version}; this cxrlearn reads up to {VERSION}. Update "
        "cxrlearn."
    )


def _check_format(path: Path, file: h5py.File) -> None:
    if file.attrs.get("format") != FORMAT:
        raise _foreign(path)
    version = int(file.attrs["version"])
    if version > VERSION:
        raise _newer(path, version)
    for name in _REQUIRED:
        file[name]  # a KeyError names what is missing
    # Rows cut off, or of another width, would otherwise go to the wrong images without a word.
    count, found = len(file["image_id"]), file["features"].shape
    dim = Fingerprint.from_json(file.attrs["fingerprint"]).dim
    if found != (count, dim):
        raise ValueError(f"its features are {found}, not {(count, dim)}")
