"""The ``xtranscode`` command: parse, call, show."""
