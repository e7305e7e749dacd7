"""Find a backbone's weight file and say what tells its weights from others, without torch."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from cxrlearn.backbones.spec import BuilderWeights, LibraryWeights, PackagedFile
from cxrlearn.errors import WeightsError
from cxrlearn.runtime.strangers import StrangerError, strangers_code

if TYPE_CHECKING:
    from cxrlearn.backbones.spec import FileForm, ResolvedBackbone

FOLDER_VARIABLE = "CXRLEARN_WEIGHTS_DIR"
LOCAL_FOLDER = Path("pretrained")


def locate(resolved: ResolvedBackbone, *, weights: str | Path | None = None) -> Path | None:
    """Find the weight file of a choice.

    Args:
        resolved: the choice.
        weights: a file, or a folder to look in first; then `$CXRLEARN_WEIGHTS_DIR` and
            `./pretrained` are looked through for the names in the record.

    Returns:
        The file (for `hf:` names possibly a folder), or None where the weights come from a
        library's own cache or from the builder.

    Raises:
        WeightsError: there is no such file; the message names every place, where to get the file
            and how to pass it.
    """
    source = resolved.spec.weights
    given = None if weights is None else Path(weights)
    if isinstance(source, LibraryWeights) and source.library == "hf":
        return _model_folder(resolved, source, given)
    if given is not None and not given.is_dir():
        return _given_file(resolved, given)
    if isinstance(source, BuilderWeights):
        return None
    if isinstance(source, PackagedFile) and given is None:
        return _packaged(resolved, source)
    found = _search(resolved, _places(given))
    if found is None and (given is not None or not isinstance(source, LibraryWeights)):
        raise WeightsError(_not_found(resolved, given))
    return found


def _search(resolved: ResolvedBackbone, places: list[Path]) -> Path | None:
    candidates = (folder / name for folder in places for name in resolved.variant.files)
    return next((path for path in candidates if path.is_file()), None)


def file_sha256(path: Path) -> str:
    """Return the file's SHA-256 in hexadecimal; an unchanged file is read once per process.

    Raises:
        WeightsError: the file cannot be read.
    """
    try:
        status = path.stat()
        return _sha256(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error


@lru_cache(maxsize=64)
def _sha256(path: Path, _size: int, _mtime_ns: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_hash(path: Path) -> str:
    """Return the hash of a file, or of what counts in a model folder, names included."""
    if path.is_file():
        return file_sha256(path)
    whole = hashlib.sha256()
    for file in sorted(path.iterdir()):
        if file.suffix in {".json", ".safetensors", ".bin"}:
            whole.update(f"{file.name}\0{file_sha256(file)}\n".encode())
    return whole.hexdigest()


def verification(published: str | None, sha256: str | None) -> str:
    """Say what a file's hash proves.

    Args:
        published: the record's hash, or the beginning of it, or None.
        sha256: the file's own.
    """
    if published is None or sha256 is None:
        return "not verified: no published hash"
    if sha256 == published:
        return "verified: it is the published one"
    if sha256.startswith(published):
        return f"verified: sha256 begins with {published}, as published"
    return f"NOT the published file: sha256 begins with {sha256[:8]}, published is {published}"


def identity(
    resolved: ResolvedBackbone, weights: Path | None, random_seed: int | None = None
) -> dict[str, str]:
    """Say what tells these weights from all others, for a feature file's fingerprint.

    Args:
        resolved: the choice.
        weights: what `locate` returned.
        random_seed: the seed of random weights, or None.

    Returns:
        `weights`: "sha256:…", "random:<seed>", "torchvision:<entry>" and so on; never a path.
    """
    if random_seed is not None:
        return {"weights": f"random:{random_seed}"}
    if weights is not None:
        return {"weights": f"sha256:{content_hash(weights)}"}
    source = resolved.spec.weights
    if isinstance(source, LibraryWeights):
        return {"weights": f"{source.library}:{source.name}:{source.entry}".rstrip(":")}
    if isinstance(source, BuilderWeights):
        return {"weights": f"builder:{source.identity}"}
    raise WeightsError(f"{resolved.name}: its weights have not been located")


def file_forms(resolved: ResolvedBackbone) -> tuple[FileForm, ...]:
    """Return the forms that a weight file of this choice may have."""
    source = resolved.spec.weights
    return () if isinstance(source, BuilderWeights) else source.forms


def load_reference(reference: str) -> object:
    """Import what "module:name" points to.

    Raises:
        WeightsError: there is no such module or name.
    """
    module, _, name = reference.partition(":")
    try:
        with strangers_code():
            return getattr(import_module(module), name)
    except StrangerError as error:
        raise WeightsError(f"a backbone's record points to {reference!r}: {error}") from error


def _model_folder(
    resolved: ResolvedBackbone, source: LibraryWeights, given: Path | None
) -> Path | None:
    """Return the folder of a Hugging Face model that lies on this disk, or None."""
    if given is None:
        return Path(source.name) if Path(source.name).is_dir() else None
    if not (given / "config.json").is_file():
        raise WeightsError(
            f"{given}, given as the weights of {resolved.name}, is no model folder: expected a "
            "folder with config.json, as save_pretrained or `hf download` writes it"
        )
    return given


def _given_file(resolved: ResolvedBackbone, path: Path) -> Path:
    if isinstance(resolved.spec.weights, BuilderWeights):
        raise WeightsError(f"{resolved.name} takes no weight file: {path} cannot be used")
    if not path.exists():
        raise WeightsError(
            f"there is no file {path}, given as the weights of {resolved.name}. {_where(resolved)}"
        )
    if not path.is_file():
        raise WeightsError(f"{path}, given as the weights of {resolved.name}, is no ordinary file")
    return path


def _packaged(resolved: ResolvedBackbone, source: PackagedFile) -> Path:
    find = load_reference(source.locate) if isinstance(source.locate, str) else source.locate
    try:
        with strangers_code():
            path = Path(str(find() if callable(find) else find))
    except StrangerError as error:
        raise WeightsError(
            f"{resolved.name}: its package cannot say where its file is: {error}"
        ) from error
    if not path.is_file():
        raise WeightsError(
            f"{resolved.name}: its package should hold {path}, which is not there. "
            "Install the package again."
        )
    return path


def _places(given: Path | None) -> list[Path]:
    """Return the folders to look in, each once, in order."""
    variable = os.environ.get(FOLDER_VARIABLE)
    places = [given, Path(variable) if variable else None, LOCAL_FOLDER]
    return list(dict.fromkeys(place for place in places if place is not None))


def looked_in(resolved: ResolvedBackbone, weights: str | Path | None = None) -> str:
    """Say which files `locate` looks for, and in which folders."""
    names = " or ".join(resolved.variant.files) or "a weight file"
    places = ", ".join(
        str(place.absolute()) for place in _places(None if weights is None else Path(weights))
    )
    unset = "" if os.environ.get(FOLDER_VARIABLE) else f" (${FOLDER_VARIABLE} is not set)"
    return f"looked for {names} in {places}{unset}"


def _not_found(resolved: ResolvedBackbone, given: Path | None) -> str:
    choice = " ".join(filter(None, (resolved.name, resolved.arch, resolved.pretrained_on)))
    return (
        f"no weights for {choice}: {looked_in(resolved, given)}. {_where(resolved)} "
        f"Then put the file there, or pass it: --weights {resolved.name}=FILE."
    )


def _where(resolved: ResolvedBackbone) -> str:
    where = getattr(resolved.spec.weights, "where", "")
    return f"To get it: {where}." if where else f"See `cxrlearn models show {resolved.name}`."
