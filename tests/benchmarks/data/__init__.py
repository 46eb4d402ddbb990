"""How many records a second become durable on the server, how soon, at what cost; beside peers."""
