"""The facts that a classifier's file, and files beside it, state about preprocessing and labels.

One module reads one format and returns `statement.Statement`; `collect` reads all of them and puts them together.

Imports go one way: ``statement`` <- the formats <- ``collect``.
"""
