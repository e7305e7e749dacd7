"""What else is wrong: the checks of later stages, once one stage has found a fault.

A run stops at its first fault. So that a user mends all of them at once, the stages that read
manifests and look for weights are then gone through as well, before any work.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from cxrlearn.errors import CxrlearnError, DataError, UsageError, WeightsError
from cxrlearn.runtime.events import SILENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# What a stage may do with settings that are wrong; its own faults are `CxrlearnError`.
_CONFUSED = (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)


@contextmanager
def all_problems(section: str, config: Any) -> Iterator[None]:  # noqa: ANN401 - any config
    """Add the faults of other stages to the one that ends the block; its exit code stays."""
    try:
        yield
    except (UsageError, DataError, WeightsError) as error:
        values = {one.name: getattr(config, one.name) for one in fields(config)}
        more = [
            line for line in other_problems(section, type(config), values) if line not in str(error)
        ]
        if not more:
            raise
        raise type(error)(*error.args, *more) from error


def other_problems(section: str, config: type, values: Mapping[str, object]) -> list[str]:
    """Return the faults of manifests and weights, one message each.

    Args:
        section: the command.
        config: its config.
        values: of its settings; some may be wrong.
    """
    unchecked: Any = object.__new__(config)  # its own checks have been made, and may have failed
    for key, value in values.items():
        object.__setattr__(unchecked, key, value)
    if isinstance(values.get("limit"), int):
        object.__setattr__(unchecked, "limit", None)
    found: list[str] = []
    for stage in _STAGES.get(section, ()):
        try:
            with suppress(*_CONFUSED):
                stage(unchecked)
        except CxrlearnError as error:
            found += map(str, error.args)
    return found


def _study(config: Any) -> None:  # noqa: ANN401 - unchecked
    from cxrlearn.workflows.datasets import load_labels, load_sets
    from cxrlearn.workflows.study_settings import source_problems

    if not source_problems(config):
        load_labels(load_sets(config, SILENT), config, SILENT)


def _manifests(config: Any) -> None:  # noqa: ANN401 - unchecked
    from cxrlearn.workflows.embed import manifests_of

    manifests_of(config)


def _weights(config: Any) -> None:  # noqa: ANN401 - unchecked
    from cxrlearn.workflows.targets import expand_models, resolve_target

    names = config.model if isinstance(config.model, tuple) else (config.model or "",)
    folder = getattr(config, "features_dir", config.output_dir)
    for name in expand_models(names, config):
        if name and ":" not in name:  # the libraries' models may have to be downloaded first
            resolve_target(name, config, folder)


def _probe_weights(config: Any) -> None:  # noqa: ANN401 - unchecked
    from cxrlearn.workflows.probe_features import find_target

    if config.model and ":" not in config.model:
        find_target(config, SILENT)


def _run(config: Any) -> None:  # noqa: ANN401 - unchecked
    from cxrlearn.workflows.predict_run import open_run

    if config.run is not None:
        open_run(config.run, config.output_dir)


def _new_images(config: Any) -> None:  # noqa: ANN401 - unchecked
    from cxrlearn.data.manifest import read_manifest, scan_folder

    if config.images is not None and config.csv is None:
        scan_folder(config.images)
    elif config.csv is not None and config.images is None:
        read_manifest(
            config.csv, name="new", image_root=config.image_root, path_column=config.path_column
        )


_STAGES: dict[str, tuple[Callable[[Any], None], ...]] = {
    "embed": (_manifests, _weights),
    "probe": (_study, _probe_weights),
    "finetune": (_study, _weights),
    "predict": (_run, _new_images),
}
"""The stages of each command that need no work before them."""
