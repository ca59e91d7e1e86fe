"""Compiled XMA plugins, through the Media Accelerator's own library, libxma2api of XRT.

A plugin is a shared object that exports ``encoder_plugin``, ``decoder_plugin``, ``scaler_plugin``,
``filter_plugin`` or ``kernel_plugin``. `initialize` loads what the cards are to run; then
`native_plugin` makes a class of it that sessions take as any other.

Sessions over several compute units (``admin_plugin``) are left out: XRT 2.13 ends the process when
one is made, as it looks for the name of a compute unit that such a session does not have.
"""

from xma_plugins.native.libxma2api import finalize, initialize, num_devices
from xma_plugins.native.plugin import named_plugin, native_plugin

__all__ = ["finalize", "initialize", "named_plugin", "native_plugin", "num_devices"]
