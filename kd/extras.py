"""Libraries of the ``[kd]`` extra, imported when they are first needed."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def extra(module: str, package: str, install: str = "Run in the checkout: pip install '.[kd]'") -> ModuleType:
    """Import ``module``, or say which install brings it.

    Args:
        module: Dotted name, as in an import statement.
        package: Name of the distribution, for the message.
        install: What to do without it.

    Raises:
        ImportError: The library is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f"{package} must be installed, got none. {install}") from error
