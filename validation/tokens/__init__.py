"""Kinds of tokens: `registry.py` lists them, one file each does the arithmetic."""
