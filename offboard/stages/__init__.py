"""The stages of a run, one file each: everything here may read files and show progress."""
