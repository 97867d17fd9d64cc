"""The commands of ``optics4f``, by what they are for.

Each imports what it needs when it is called: help and shell completion do not wait for PyTorch.
"""
