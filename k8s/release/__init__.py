"""A release of the chart seen from outside: its pods, its status, what is wrong, its logs."""
