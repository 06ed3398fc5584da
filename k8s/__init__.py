"""Access to a Kubernetes cluster, for starting the evaluation and for the commands status, logs and doctor."""
