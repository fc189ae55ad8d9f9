"""Clients of the live server, on the official SDKs: good habits beside bad ones."""
