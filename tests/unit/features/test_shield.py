from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from cxrlearn.features.shield import ShieldedFile

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import resource, sys
from pathlib import Path
import h5py, numpy as np
from cxrlearn.features.shield import ShieldedFile
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    with ShieldedFile(Path(sys.argv[1])) as disk, h5py.File(disk, "w") as file:
        data = file.create_dataset("x", (4096, 64), dtype="f4", chunks=(64, 64), fletcher32=True)
        for start in range(0, 4096, 64):
            data[start : start + 64] = start
            file.create_dataset(f"y{start}", data=np.arange(9))
except OSError as error:
    print("errno", error.errno)
"""


def test_what_hdf5_writes_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    values = np.random.default_rng(0).normal(size=(500, 70))
    with ShieldedFile(path) as disk, h5py.File(disk, "w") as file:
        file.create_dataset("x", data=values, chunks=(50, 70), fletcher32=True)
        file["x"][3] = 7
        assert file["x"][3, 0] == 7
    with h5py.File(path) as file:
        assert np.array_equal(file["x"][4:], values[4:])


@pytest.mark.slow
@pytest.mark.parametrize("limit", [0, 100, 3000, 200_000, 1_000_000])
def test_a_full_disk_is_one_error_at_every_size_and_no_crash(tmp_path: Path, limit: int) -> None:
    pytest.importorskip("resource", reason="needs the limits of POSIX")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "a.h5"), str(limit)]
    # Coverage could not write its own file under the limit either.
    plain = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")}
    done = subprocess.run(command, capture_output=True, text=True, env=plain)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"errno {errno.EFBIG}\n", "")


def test_the_first_error_is_raised(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    disk = ShieldedFile(path)
    disk._file.close()
    disk._file = path.open("rb", buffering=0)
    assert disk.write(b"lost") == 4
    with pytest.raises(OSError, match="not open for writing"):
        disk.check()
    disk.close()
