"""Steering: turns typed text into requests in inboxes and `bnrun` commands. Independent of the screens."""
