"""The flagship's cells side by side, on a machine with many cores."""
