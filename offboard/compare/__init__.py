"""Runs beside each other: what was recorded, in groups of seeds, on one page."""
