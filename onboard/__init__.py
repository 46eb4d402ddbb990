"""The Jetson runtime: a real-time control process and a best-effort agent."""
