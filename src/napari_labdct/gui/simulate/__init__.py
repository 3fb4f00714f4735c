"""The Simulate dock."""
