"""Decisions about trials: suggestions, leases, retries and early stopping."""
