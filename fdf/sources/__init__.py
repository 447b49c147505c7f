"""Where photo records come from: one file per origin."""
