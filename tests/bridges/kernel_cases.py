"""Parameters with which the contract of kernels is tried; every kernel has some."""

from typing import Any

from tests.bridges.kernel_files import COEFFICIENTS, CUBE, CURVES, PICTURE

CASES: dict[str, list[dict[str, Any]]] = {
    "crop": [{"x": 4}, {"x": 12, "y": 4, "width": 40, "height": 4}],
    "pad": [
        {"left": 4, "top": 8, "right": 3, "bottom": 1, "colour": "#1080f0"},
        {"left": 12, "right": 5},
    ],
    "flip": [{}, {"direction": "vertical"}, {"direction": "both"}],
    "rotate": [{}, {"angle": 270}],
    "transpose": [{}],
    "brightness": [{"amount": 0.1}],
    "contrast": [{"amount": 1.7}],
    "gamma": [{"value": 2.2}],
    "invert": [{}, {"amount": 0.3}],
    "lut": [
        {"file": CUBE},
        {"file": CUBE, "interpolation": "trilinear"},
        {"file": CURVES},
    ],
    "overlay": [
        {"file": PICTURE, "x": 3, "y": -2, "opacity": 0.7},
        {"file": PICTURE, "x": -20, "y": 20},
    ],
    "rgb_to_yuv": [{}, {"matrix": "bt2020", "range": "full", "siting": "centre"}],
    "saturation": [{"amount": 2.5}],
    "yuv_to_rgb": [{}, {"siting": "centre"}, {"siting": "topleft"}, {"siting": "none"}],
    "rgb_to_grayscale": [{}],
    "denoise": [{}, {"strength": 0.99, "threshold": 64.0}],
    "gaussian_blur": [{}],
    "sharpen": [{}],
    "sobel": [{}],
    "histogram": [{}, {"bins": 1000}],
    "resize": [
        {"width": 48, "height": 13},
        {"width": 190, "height": 70, "filter": "bilinear", "antialias": False},
        {"width": 20, "filter": "lanczos", "siting": "centre"},
    ],
    "polyphase": [
        {"width": 48, "height": 13},
        {"width": 190, "height": 70, "coefficients": COEFFICIENTS, "siting": "centre"},
    ],
    "statistics": [{}],
    "tone_map": [
        {"transfer": "pq"},
        {"transfer": "hlg", "peak": 4000, "target": 203},
    ],
}
