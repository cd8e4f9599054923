"""Tools that come with sayso, one file each."""
