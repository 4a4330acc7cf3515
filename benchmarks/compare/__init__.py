"""camrt beside other libraries, providers and camera counts."""
