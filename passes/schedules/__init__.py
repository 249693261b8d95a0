"""Schedules: how the body of a group becomes loops, one file per kind of kernel."""
