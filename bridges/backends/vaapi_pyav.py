"""How to come by a PyAV whose FFmpeg has VA-API, which the wheel's has not."""

__all__ = ["BUILD", "BUILD_COMMANDS"]

BUILD = "build PyAV against an FFmpeg 8.1 that has it: xtranscode devices prints the commands"
"""What to say where PyAV's FFmpeg has no VA-API; the wheel's has none."""

_PYAV = "pip install --force-reinstall --no-binary av 'av>=18.1,<19'"
BUILD_COMMANDS = {
    "Ubuntu 26.10, whose FFmpeg is 8.1": (
        "apt install gcc pkgconf python3-dev libavdevice-dev libavfilter-dev libva-dev",
        _PYAV,
    ),
    "Debian 12 and 13, and Ubuntu before 26.10": (
        "apt install gcc make nasm pkgconf python3-dev libva-dev libdrm-dev libx264-dev libvpx-dev",
        "curl -LO https://ffmpeg.org/releases/ffmpeg-8.1.2.tar.xz && tar xf ffmpeg-8.1.2.tar.xz",
        "cd ffmpeg-8.1.2 && ./configure --prefix=/opt/ffmpeg --enable-shared --enable-gpl "
        "--enable-libx264 --enable-libvpx && make -j4 && make install",
        "PKG_CONFIG_PATH=/opt/ffmpeg/lib/pkgconfig LDFLAGS=-Wl,-rpath,/opt/ffmpeg/lib " + _PYAV,
    ),
}
"""What builds a PyAV with VA-API, by system: shell commands. Both were run as they stand here, but
for the address that FFmpeg's archive came from."""
