"""Labelled images in the forms that people keep them.

Imports go one way: ``labelled`` <- ``files`` <- ``folder``, ``voc``, ``coco``, ``table``, ``listed`` <- ``read``.
"""
