"""Tests with a real browser: collected only by `nox -s reports`, never skipped."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("CXRLEARN_REPORTS") == "1" else ["test_*.py"]
