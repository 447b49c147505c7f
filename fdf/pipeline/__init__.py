"""Recipes in, finished stages out: plan, skip, run, commit."""
