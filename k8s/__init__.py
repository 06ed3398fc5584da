"""Access to a Kubernetes cluster, for the chief, for pods of the chart, and for commands about a release."""
