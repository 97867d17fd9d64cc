"""Masks from targets."""

from .retrieval import kinoform

__all__ = ["kinoform"]
