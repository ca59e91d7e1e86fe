"""VA-API's images: a surface's own memory as the host sees it, or a copy of a part of it."""

import ctypes as c
import mmap

from bridges.backends.vaapi_display import Display, check
from bridges.backends.vaapi_surface import Surface, create_surface
from bridges.errors import DeviceError, FormatError
from bridges.formats import pixel_format
from bridges.native import libva as va
from bridges.native.libva import libva
from bridges.tensor import AccessMode

__all__ = ["MappedImage", "can_export", "derives_in_place"]


class MappedImage:
    """A VA image whose samples are mapped to the host until ``close()``.

    Attributes
    ----------
    address : int
        Of the first byte; 0 once it is unmapped.
    nbytes : int
        All of it.
    """

    def __init__(self, surface: Surface, native: va.Image) -> None:
        self._surface, self._native = surface, native
        self._display = surface.display.native
        surface.display.hold()
        self.address, self.nbytes = 0, int(native.data_size)

    @classmethod
    def derive(cls, surface: Surface) -> "MappedImage":
        """Map a surface itself, once the work on it is done.

        Raises
        ------
        DeviceError
            The driver cannot, or the device failed.
        """
        surface.sync()
        native = va.Image()
        status = libva().vaDeriveImage(surface.display.native, surface.number, c.byref(native))
        if status:
            check(status, f"derive an image from {surface} of {surface.display.vendor}")
        image = cls(surface, native)
        image._map()
        return image

    @classmethod
    def create(cls, surface: Surface, width: int, height: int) -> "MappedImage":
        """Map a new image of a surface's format, with memory of its own; samples are undefined.

        Raises
        ------
        DeviceError
            The driver has no images of this format, or too little memory.
        """
        display = surface.display
        form = display.image_formats.get(surface.format.va)
        if form is None:
            raise DeviceError(
                f"{display.vendor} has no images of {surface.format.va} to copy {surface} with, "
                f"only of {', '.join(sorted(display.image_formats))}"
            )
        native = va.Image()
        status = libva().vaCreateImage(
            display.native, c.byref(form), width, height, c.byref(native)
        )
        check(status, f"create an image of {width}x{height} on {display.vendor}")
        image = cls(surface, native)
        image._map()
        return image

    def _map(self) -> None:
        address = c.c_void_p()
        status = libva().vaMapBuffer(self._display, self._native.buf, c.byref(address))
        if status:
            self._destroy()
            check(status, f"map an image of {self._surface}")
        self.address = address.value or 0

    def plane(self, index: int) -> tuple[int, int]:
        """Return the address of a plane's first sample, and the bytes from row to row."""
        return self.address + self._native.offsets[index], self._native.pitches[index]

    def fetch(self, x: int, y: int, width: int, height: int) -> None:
        """Copy a part of the surface into the image.

        Raises
        ------
        DeviceError
            The driver cannot read the surface.
        """
        surface = self._surface
        surface.sync()
        self._unmap()
        status = libva().vaGetImage(
            self._display, surface.number, x, y, width, height, self._native.image_id
        )
        check(status, f"copy {width}x{height} out of {surface}")
        self._map()

    def store(self, x: int, y: int, width: int, height: int) -> None:
        """Copy the image into a part of the surface; it is unmapped from then on.

        Raises
        ------
        DeviceError
            The driver cannot write the surface.
        """
        surface = self._surface
        self._unmap()
        status = libva().vaPutImage(
            self._display,
            surface.number,
            self._native.image_id,
            *(0, 0, width, height),
            *(x, y, width, height),
        )
        check(status, f"copy {width}x{height} into {surface}")
        surface.sync()

    def _unmap(self) -> int:
        address, self.address = self.address, 0
        return libva().vaUnmapBuffer(self._display, self._native.buf) if address else 0

    def _destroy(self) -> int:
        number, self._native.image_id = self._native.image_id, va.INVALID_SURFACE
        if number == va.INVALID_SURFACE:
            return 0
        status: int = libva().vaDestroyImage(self._display, number)
        self._surface.display.drop()
        return status

    def close(self) -> None:
        """Unmap the image, which makes what was written visible, and destroy it; may be repeated.

        Raises
        ------
        DeviceError
            The driver failed; the image is gone all the same.
        """
        status = self._unmap() or self._destroy()
        if status:
            self._destroy()
            check(status, f"unmap an image of {self._surface}")

    def __del__(self) -> None:
        if self._unmap() | self._destroy():
            pass  # Nobody is left who could be told.


def derives_in_place(display: Display) -> bool:
    """Return whether a derived image is the surface's own memory, and not a copy of it.

    Drivers of tiled memory derive a linear copy, which they write back as it is unmapped. So it is
    tried out: what is written into the image has to be in the exported memory at once.
    """
    try:
        surface = create_surface(display, pixel_format("nv12"), 128, 128)
        export = surface.export(AccessMode.READ)
        image = MappedImage.derive(surface)
    except (DeviceError, FormatError):
        return False
    plane = surface.layout[0]
    descriptor = export.descriptors[plane.object_index]
    mark = b"derived in place"
    try:
        if not surface.is_linear or image.plane(0)[1] != plane.pitch:
            return False
        with mmap.mmap(descriptor.fd, descriptor.nbytes, mmap.MAP_SHARED, mmap.PROT_READ) as memory:
            seen = []
            for written in (mark, mark[::-1]):
                c.memmove(image.plane(0)[0], written, len(written))
                seen.append(memory[plane.offset : plane.offset + len(written)])
            return seen == [mark, mark[::-1]]
    except (OSError, ValueError):
        return False
    finally:
        image.close()


def can_export(display: Display) -> bool:
    """Return whether a driver hands surfaces out as dma-bufs; it is tried out."""
    try:
        create_surface(display, pixel_format("nv12"), 128, 128).export(AccessMode.READ)
    except (DeviceError, FormatError):
        return False
    return True
