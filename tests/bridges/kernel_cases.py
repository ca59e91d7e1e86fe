"""Parameters with which the contract of kernels is tried; every kernel has some."""

from typing import Any

CASES: dict[str, list[dict[str, Any]]] = {
    "rgb_to_grayscale": [{}],
}
