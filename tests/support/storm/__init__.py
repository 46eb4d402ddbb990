"""Everything that can happen to a robot, a server and the link between them, on purpose."""
