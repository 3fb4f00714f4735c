"""The Grains dock: from spots to grains, whose spots they are, and how well two maps agree."""
