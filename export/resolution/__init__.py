"""Change the size of a classifier's input, or of its last maps."""
