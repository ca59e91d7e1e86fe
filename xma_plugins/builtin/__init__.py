"""Plugins that come with the package; `xma_plugins.registry` has the table of them."""
