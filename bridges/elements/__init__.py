"""The elements of this package, one file each; `bridges.element_table` finds them by name."""
