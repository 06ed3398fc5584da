"""Access to a Kubernetes cluster: starting the evaluation, and the commands status, logs and doctor."""
