"""What two sides must agree on: bytes, arrays and decisions. Pure; no I/O, clock or randomness."""
