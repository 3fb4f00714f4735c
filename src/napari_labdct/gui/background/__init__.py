"""The Background dock."""
