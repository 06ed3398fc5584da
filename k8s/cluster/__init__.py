"""The Kubernetes API: its client, its objects, a process's place in a cluster, and port forwarding."""
