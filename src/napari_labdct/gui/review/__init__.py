"""The Review dock: table, gallery, decisions, corrections, export."""
