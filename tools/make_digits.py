"""Makes `frontend/data/digits.npz` from the digits that scikit-learn ships.

    python tools/make_digits.py [digits.csv.gz]

The file is `sklearn/datasets/data/digits.csv.gz` of scikit-learn's wheel; without an argument it is
looked for in an installed scikit-learn. Each row holds 64 pixels from 0 to 16 and the digit.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

TARGET = Path(__file__).resolve().parent.parent / "frontend" / "data" / "digits.npz"
SOURCE = (
    "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, 1998, UCI Machine "
    "Learning Repository, https://doi.org/10.24432/C50P49, its test set of 1797 images as "
    "distributed by scikit-learn; licence CC BY 4.0"
)


def source_file(arguments: list[str]) -> Path:
    """The file to read."""
    if arguments:
        return Path(arguments[0])
    found = find_spec("sklearn")
    if found is None or found.origin is None:
        sys.exit(f"scikit-learn is not installed: give the path of its digits.csv.gz\n{__doc__}")
    return Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"


def main() -> None:
    """Read the table and write images (1797, 8, 8) and labels (1797,), both uint8."""
    table = np.loadtxt(source_file(sys.argv[1:]), delimiter=",")
    images = table[:, :64].reshape(-1, 8, 8).astype(np.uint8)
    labels = table[:, 64].astype(np.uint8)
    TARGET.parent.mkdir(exist_ok=True)
    np.savez_compressed(TARGET, images=images, labels=labels, source=np.asarray(SOURCE))
    print(f"{TARGET}: {len(images)} images, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
