"""From what a person types to requests in inboxes and commands started; knows no screen."""
