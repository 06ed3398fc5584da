"""The program's side of the cluster: starting the evaluation, status, logs and doctor."""
