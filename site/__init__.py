"""The static leaderboard: templates and the code that renders `results/` into plain files."""
