"""``python -m optics4f`` is the command ``optics4f``."""

from optics4f.start import main

if __name__ == "__main__":
    main()
