"""``make demo``: the whole loop on one machine, every part a process of its own."""
