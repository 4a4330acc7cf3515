"""Report of an audit: page, JSON, tables, boxes, and a script for FiftyOne."""
