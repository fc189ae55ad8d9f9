"""Makers of tables and sentences, by what they are about; each module has `MADE`, by name."""
