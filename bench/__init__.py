"""Measurements: each against a rival or a limit in the same run. `python -m bench [NAME ...]`."""
