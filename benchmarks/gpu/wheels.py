"""What a GPU machine without a package index lacks, as wheels in one folder.

    python -m benchmarks.gpu.wheels FOLDER                    (here, where there is an index)
    python -m pip install --no-index --no-deps --target SITE FOLDER/*.whl     (there)
    PYTHONPATH=SITE python -m benchmarks.gpu --out OUT

The machine has torch, numpy, scipy, scikit-learn, pillow, pluggy, pyyaml, rich, typer, safetensors
and pytest, in versions of its own, and no torchvision.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.gpu.options import ROOT

LACKING = ("pydantic>=2.12.2", "platformdirs>=4", "hypothesis>=6.100")
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def main() -> None:
    """Download them with what they need, and build our own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="the machine's")
    parser.add_argument("--lacks", nargs="*", default=[], help="more packages that it lacks")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    download = ["download", "--only-binary=:all:", "--python-version", options.python]
    for platform in _PLATFORMS:
        download += ["--platform", platform]
    for asked in ([*download, *LACKING, *options.lacks], ["wheel", "--no-deps", str(ROOT)]):
        place = "--dest" if asked[0] == "download" else "--wheel-dir"
        subprocess.run([*pip, *asked, place, str(options.folder)], check=True)
    wheels = sorted(options.folder.glob("*.whl"))
    size = sum(wheel.stat().st_size for wheel in wheels) / 2**20
    print(f"{len(wheels)} wheels, {size:.1f} MiB, in {options.folder}")


if __name__ == "__main__":
    main()
