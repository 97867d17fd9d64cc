"""``python -m kd``."""

from optics4f.start import start

if __name__ == "__main__":
    start("kd.cli")
