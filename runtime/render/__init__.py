"""Images out of maps: overlay, text, mosaic."""
