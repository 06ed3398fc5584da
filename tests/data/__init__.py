"""Tests of the data set's way from archive to arrays."""
