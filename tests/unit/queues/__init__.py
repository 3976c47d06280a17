"""Unit tests of the queues: one file for each module that has no process in it."""
