"""Tests of the models that are read, their sizes and their times."""
