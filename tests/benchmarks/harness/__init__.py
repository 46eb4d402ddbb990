"""How fast the harness is."""
