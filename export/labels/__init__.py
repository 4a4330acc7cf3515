"""Class labels: from files in the forms that people write them, and one for each class.

Imports go one way: ``form`` <- ``values``, ``lines``, ``table``, ``simple_yaml`` <- ``read``.
"""
