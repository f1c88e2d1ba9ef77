"""A small Kubernetes API on loopback, for trying syncctl out and for testing it."""
