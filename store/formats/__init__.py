"""Token files of other makers, one file for each format."""
