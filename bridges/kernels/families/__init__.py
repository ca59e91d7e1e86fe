"""The kernels of the package: a portable source for each family, and what makes it ready."""
