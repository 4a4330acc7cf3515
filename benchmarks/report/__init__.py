"""Run all speed measurements, fill the tables of the documents, and check for regressions."""
