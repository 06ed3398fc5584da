"""Prometheus metrics: what is measured (catalogue), and the parts that measure it."""
