"""Class activation maps of one frame or stream: decode, filter, paint."""
