"""``wombet-sim check``: everything that is wrong with a robot file, where, and what to do."""
