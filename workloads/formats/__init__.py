"""Importers: one file per trace format."""
