"""``wombet-sim new-robot``: the files of a robot to begin with."""
