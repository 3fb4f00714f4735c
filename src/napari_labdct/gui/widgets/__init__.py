"""Widgets that docks are made of; they know no session."""
