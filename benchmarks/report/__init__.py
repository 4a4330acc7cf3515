"""All measurements in one run, and the tables of the documents."""
