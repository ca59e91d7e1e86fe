"""The frames of a stream on a device, with few turns of the interpreter's lock.

PyAV gives the lock away some ten times for a packet and its frame: to make each, to move it, to
read, to send, to free. A device decodes a frame in a fraction of a millisecond, and where it does
so for many threads, each turn is a wait for all others. Here one packet and one frame are filled
again and again, and the lock is given away only where FFmpeg may wait.
"""

import ctypes as c
import errno
import sys
from collections.abc import Generator

from av.container import InputContainer
from av.error import err_check
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from bridges.closable import Closable
from bridges.errors import ClosedError
from bridges.native import libavcodec, libavformat, libavutil
from bridges.native.libavutil import AVFrame, frame_pointer

__all__ = ["decoded"]

_END = -int.from_bytes(b"EOF ", "little")
"""``AVERROR_EOF`` of libavutil/error.h."""

_NONE_YET = -errno.EAGAIN


def decoded(
    container: InputContainer, stream: VideoStream, decoder: VideoCodecContext, hardware: str
) -> Generator[VideoFrame, None, None]:
    """Decode a stream from where its file stands to the end.

    They are the frames that PyAV gives, but for this. A ``VideoFrame`` on the device is filled
    again with the next picture unless somebody still refers to it; its ``format`` tells no size,
    and PyAV takes it for one of the first device. What cannot be decoded is told of also where the
    same packet held a frame before it.

    Parameters
    ----------
    container : av.container.InputContainer
        Opened from a path, without a time limit; nobody else reads from it meanwhile.
    stream : av.VideoStream
        One of that file's.
    decoder : av.VideoCodecContext
        The stream's own, or another one for it; empty.
    hardware : str
        FFmpeg's name of the pixel format that stands for the device's memory.

    Raises
    ------
    av.FFmpegError
        The file cannot be read on, or what was read cannot be decoded.
    ClosedError
        The file or the decoder was closed.
    DeviceError
        PyAV is of a version that is not known here.
    """
    with _Decoding(container, stream, decoder, hardware) as decoding:
        more = True
        while more:
            more = decoding.send()
            while decoding.receive():
                yield decoding.frame


class _Decoding(Closable):
    """A decoder, the packet that it is sent and the frame that it gives.

    Attributes
    ----------
    frame : av.VideoFrame
        What was received last.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        decoder: VideoCodecContext,
        hardware: str,
    ) -> None:
        decoder.open(strict=False)
        self._keep = container, decoder
        self._container = libavformat.input_pointer(container)
        self._decoder = libavcodec.decoder_pointer(decoder)
        self._name, self._index = container.name, stream.index
        self._hardware, self._time_base = hardware, stream.time_base
        self._read = libavformat.library().av_read_frame
        self._codec = libavcodec.library()
        self._nobodys = object()
        self._renew()
        self._packet = c.c_void_p(self._codec.av_packet_alloc())
        if not self._packet.value:
            raise MemoryError("FFmpeg has too little memory for a packet")
        self._head = libavcodec.AVPacket.from_address(self._packet.value)

    def _renew(self) -> None:
        self._is_surface = True
        self._take(VideoFrame(0, 0, self._hardware))

    def _take(self, frame: VideoFrame) -> None:
        self.frame, self._pointer = frame, frame_pointer(frame)
        self._native = AVFrame.from_address(self._pointer)

    def send(self) -> bool:
        """Send the stream's next packet; return False where it ends, which the decoder is told."""
        self._check_open()
        code = 0
        while code >= 0:
            self._codec.av_packet_unref(self._packet)
            code = self._read(self._container, self._packet)
            if code >= 0 and self._head.stream_index == self._index:
                self._send(self._packet)
                return True
        if code != _END:
            err_check(code, self._name)
        self._send(None)
        return False

    def _check_open(self) -> None:
        if not (self._container and self._decoder):
            raise ClosedError(f"{self._name} was closed while it is decoded; open it again")

    def _send(self, packet: c.c_void_p | None) -> None:
        err_check(self._codec.avcodec_send_packet(self._decoder, packet), "avcodec_send_packet()")

    def receive(self) -> bool:
        """Have `frame` be the next one; return False where the decoder has none without a packet.

        It is another object where somebody refers to the last one, and where that was in memory.
        """
        self._check_open()
        # Asking adds to both counts alike.
        is_held = sys.getrefcount(self.frame) > sys.getrefcount(self._nobodys)
        if is_held or not self._is_surface:
            self._renew()
        code = self._codec.avcodec_receive_frame(self._decoder, self._pointer)
        if code in (_NONE_YET, _END):
            return False
        err_check(code, "avcodec_receive_frame()")
        self._is_surface = bool(self._native.hw_frames_ctx)
        if not self._is_surface:
            self._take_from_memory()
        self.frame.time_base = self._time_base
        return True

    def _take_from_memory(self) -> None:
        """Have PyAV know the format and the size of what software decoded."""
        library, received = libavutil.library(), self.frame
        name = library.av_get_pix_fmt_name(self._native.format).decode()
        self._take(VideoFrame(self._native.width, self._native.height, name))
        library.av_frame_unref(self._pointer)
        library.av_frame_move_ref(self._pointer, frame_pointer(received))

    def close(self) -> None:
        """Free the packet."""
        self._codec.av_packet_free(c.byref(self._packet))
