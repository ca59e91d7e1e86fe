"""A plugin for xtranscode, under the name ``trails``."""
