"""What runs a policy's graph on this machine: one port, three implementations, one probe."""
