"""The rig in a browser."""
