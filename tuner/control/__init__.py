"""Requests of users to a running search: pause, resume, stop and enqueue."""
