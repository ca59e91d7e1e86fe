"""Parameter types: the texts of a command line as the values of a `transcode.Job`."""

import importlib
from typing import Any

import click

__all__ = ["AUDIO", "BIT_RATE", "DEVICE", "KEY_VALUE", "NBYTES", "RATE", "SIZE", "TIME"]


class _Parsed(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.5
    """A type whose values a function of the packages below makes of their text.

    Parameters
    ----------
    name : str
        For the help page.
    module, function : str
        Imported when there is a value to be parsed, not before.
    """

    def __init__(self, name: str, module: str, function: str) -> None:
        self.name = name
        self.module = module
        self.function = function

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return getattr(importlib.import_module(self.module), self.function)(value)
        except (ValueError, LookupError) as error:
            self.fail(str(error), param, ctx)


class _Device(click.ParamType):  # type: ignore[type-arg]
    """The name of a device, checked and left as text."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from bridges.device import DeviceName

        try:
            return str(DeviceName.parse(value))
        except LookupError as error:
            self.fail(str(error), param, ctx)


class _KeyValue(click.ParamType):  # type: ignore[type-arg]
    """A ``key=value`` pair; the value may be empty and hold further equals signs."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        key, equals, rest = value.partition("=")
        if not equals or not key.strip():
            self.fail(f"{value!r} has not the form key=value", param, ctx)
        return key.strip(), rest


SIZE = _Parsed("size", "transcode.job", "parse_size")
RATE = _Parsed("rate", "transcode.job", "parse_rate")
NBYTES = _Parsed("size", "transcode.manifest_value", "parse_bytes")
TIME = _Parsed("time", "transcode.job", "parse_time")
BIT_RATE = _Parsed("rate", "transcode.job", "parse_bit_rate")
AUDIO = _Parsed("audio", "transcode.job", "parse_audio")
DEVICE = _Device()
KEY_VALUE = _KeyValue()
