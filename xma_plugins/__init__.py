"""Media accelerator sessions: encoders as objects that take frames and give packets."""

from xma_plugins.status import Status

__all__ = ["Status"]
