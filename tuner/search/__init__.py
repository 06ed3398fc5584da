"""Which trial runs next, and which ends: oracle, leases, suggestions, early stopping."""
