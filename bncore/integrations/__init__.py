"""Callbacks for other people's trainers; each file needs its own library, and nothing else imports them."""
