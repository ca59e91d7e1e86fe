"""What each kernel computes, in plain NumPy: every runtime has to give these very samples."""

from bridges.kernels.reference.gray import rgb_to_grayscale

__all__ = ["rgb_to_grayscale"]
