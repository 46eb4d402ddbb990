"""How well the runtime keeps time, on this machine, in one run: ``make bench-runtime``."""
