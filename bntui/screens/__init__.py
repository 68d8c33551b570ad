"""The explorer's screens, one file each."""
