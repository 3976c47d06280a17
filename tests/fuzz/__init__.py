"""Whole pools with random settings, tasks and accidents, held against what may come of them.

``python -m tests.fuzz FIRST LAST`` plays the plans of these numbers, one pool each.
"""
