"""The Kubernetes API: client, object types and port forwarding."""
