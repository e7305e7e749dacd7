"""What a Hugging Face repository may bring: tensors and settings, never code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cxrlearn.backbones.checkpoint import check_container
from cxrlearn.backbones.libraries.fetch import hub_file
from cxrlearn.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cxrlearn.backbones.load import LoadOptions
    from cxrlearn.backbones.spec import LibraryWeights

NO_CODE: Final[dict[str, Any]] = {"trust_remote_code": False}
"""For every call of transformers. Without it, transformers asks, and one keystroke runs code."""
_CONFIGS = ("config.json", "preprocessor_config.json", "processor_config.json")


def refuse_own_code(name: str, folder: Path) -> None:
    """Refuse a model whose configuration names code of its own, here or elsewhere on the hub.

    Raises:
        WeightsError: naming the code; none of it has run.
    """
    for file in _CONFIGS:
        path = folder / file
        code = sorted(_code_named(_read_json(path))) if path.is_file() else []
        if code:
            raise WeightsError(
                f"hf:{name} is refused: its {file} names code of its own "
                f"({', '.join(code)}), and cxrlearn runs no code of a repository. Nothing was run. "
                "Choose a model that transformers knows by itself; or read that code, and offer "
                "the model as a plug-in (docs/how-to/add-a-backbone)."
            )


def _code_named(node: object) -> Iterator[str]:
    """Yield what a configuration makes transformers import: classes, and kernels of the hub."""
    for key, value in node.items() if isinstance(node, dict) else ():
        if key == "auto_map":
            yield from map(str, value.values() if isinstance(value, dict) else [value])
        elif "_implementation" in key and "/" in str(value):
            yield str(value)
        else:
            yield from _code_named(value)


def _read_json(path: Path) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is no JSON text: {error}") from error


def refuse_bad_files(source: LibraryWeights, file: Path, options: LoadOptions) -> None:
    """Refuse weight files that lie about their parts, before transformers reads them.

    Args:
        source: which model.
        file: its folder, its weight file, or the index of several.
        options: whether a missing one may be downloaded.

    Raises:
        WeightsError: naming the file.
    """
    for one in _weight_files(source, file, options):
        check_container(one)


def _weight_files(source: LibraryWeights, file: Path, options: LoadOptions) -> list[Path]:
    """Return the files that transformers may read: those of a folder, or of the hub's cache."""
    if file.is_dir():
        return sorted(path for path in file.iterdir() if path.suffix in {".bin", ".safetensors"})
    if file.suffix != ".json":
        return [file]
    shards = sorted(set(map(str, _read_json(file).get("weight_map", {}).values())))
    return [
        hub_file(
            source.name,
            [shard],
            revision=source.entry or None,
            offline=options.offline,
            notify=options.notify or (lambda _: None),
        )
        for shard in shards
    ]
