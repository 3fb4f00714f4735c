"""The Compare dock: network and baseline side by side."""
