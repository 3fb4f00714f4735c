"""The Scan dock: projections, angles, geometry."""
