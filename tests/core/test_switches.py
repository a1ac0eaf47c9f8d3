"""Switches that other libraries read when they are imported."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["client.app", "server.app", "simulations.grid"])
def test_telemetry_is_off_before_flower_is_imported(module: str) -> None:
    script = (
        "import os, sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'flwr':\n"
        "            sys.exit(0 if os.environ.get('FLWR_TELEMETRY_ENABLED') == '0' else 1)\n"
        "sys.meta_path.insert(0, Watch())\n"
        f"import {module}\n"
        "sys.exit(2)"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
