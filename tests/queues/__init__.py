"""Queues that pass to tasks: what they do, what they survive, and who gets in."""
