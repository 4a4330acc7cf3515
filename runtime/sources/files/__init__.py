"""Images and videos in files."""
