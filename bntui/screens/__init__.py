"""The explorer's pages and dialogs."""
