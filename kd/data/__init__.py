"""Image data sets, one module a format."""
