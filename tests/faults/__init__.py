"""Whole commands in a world that fails: killed, disks full, pipes closed, no network, odd locales."""
