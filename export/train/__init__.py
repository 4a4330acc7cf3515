"""Networks with global average pooling, and their training."""
