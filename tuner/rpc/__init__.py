"""The lease service and TLS, for the chief and its clients."""
