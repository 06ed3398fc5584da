"""Figures that are written as PNG files, drawn with matplotlib."""
