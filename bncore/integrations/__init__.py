"""Callbacks for third-party trainers; each module needs its own library, and nothing else imports it."""
