"""The preflight: whether a cluster has what a release of the chart needs."""
