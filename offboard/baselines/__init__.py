"""Published offline-to-online methods, on the networks and data of our own: what to beat."""
