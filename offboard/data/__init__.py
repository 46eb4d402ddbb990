"""Recorded data as people use it: listed, checked, exported, imported, and deleted in time."""
