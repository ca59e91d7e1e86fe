"""What each kernel computes, in plain NumPy: every runtime has to give these very samples."""

from bridges.kernels.reference.adjust import brightness, contrast, invert, saturation
from bridges.kernels.reference.blur import gaussian_blur, sharpen
from bridges.kernels.reference.denoise import denoise
from bridges.kernels.reference.gamma import gamma
from bridges.kernels.reference.geometry import crop, flip, pad, rotate, transpose
from bridges.kernels.reference.gray import rgb_to_grayscale
from bridges.kernels.reference.lut import lut
from bridges.kernels.reference.overlay import overlay
from bridges.kernels.reference.resize import polyphase, resize
from bridges.kernels.reference.sobel import sobel
from bridges.kernels.reference.statistics import histogram, statistics
from bridges.kernels.reference.tone_map import tone_map

__all__ = [
    "brightness",
    "contrast",
    "crop",
    "denoise",
    "flip",
    "gamma",
    "gaussian_blur",
    "histogram",
    "invert",
    "lut",
    "overlay",
    "pad",
    "polyphase",
    "resize",
    "rgb_to_grayscale",
    "rotate",
    "saturation",
    "sharpen",
    "sobel",
    "statistics",
    "tone_map",
    "transpose",
]
