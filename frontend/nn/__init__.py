"""Modules, layers and losses; users import them as `calque.nn`."""
