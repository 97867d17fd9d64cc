"""``python -m optics4f`` is the command ``optics4f``."""

from .cli import main

main()
