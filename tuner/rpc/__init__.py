"""The lease service and TLS, both ends."""
