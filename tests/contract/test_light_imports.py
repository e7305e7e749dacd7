from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {
    "torch",
    "numpy",
    "pandas",
    "sklearn",
    "h5py",
    "PIL",
    "torchvision",
    "timm",
    "transformers",
    "scipy",
}
SCRIPT = """
import json, sys
sys.argv = {argv!r}
from cxrlearn.__main__ import main
try:
    main()
except SystemExit as stop:
    code = stop.code
loaded = sorted({{name.partition(".")[0] for name in sys.modules}})
sys.stderr.write(json.dumps([code, loaded]))
"""


@pytest.mark.parametrize(
    "argv",
    [
        ["cxrlearn", "--help"],
        ["cxrlearn", "embed", "--help"],
        ["cxrlearn", "finetune", "--help"],
        ["cxrlearn", "models", "list"],
    ],
    ids=" ".join,
)
def test_help_and_lists_import_nothing_heavy(argv: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(argv=argv)], capture_output=True, text=True
    )
    code, loaded = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    assert HEAVY.isdisjoint(loaded)


def test_import_cxrlearn_imports_nothing_heavy() -> None:
    script = "import sys, cxrlearn; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert not any(repr(name) in done.stdout for name in HEAVY)
