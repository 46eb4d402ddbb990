"""What a robot costs its server by the hour, and what fleets of them do."""
