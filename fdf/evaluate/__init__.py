"""How good a generator is, how much it keeps of what must stay, and whom it gives away.

`evaluation.evaluate` runs everything on an exported generator and the shards of a build. What each figure means:
docs/evaluate.md.
"""
