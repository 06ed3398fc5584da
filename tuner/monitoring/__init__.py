"""Metrics for Prometheus, health checks and logs of a process."""
