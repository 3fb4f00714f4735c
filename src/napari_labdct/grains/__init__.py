"""From spots to grains."""
