"""Store of the maps of many images: one row an image, written by worker processes, read by `camrt eval`.

Imports go one way: ``walk`` <- ``inputs`` <- ``folder_classes`` <- ``items`` <- ``rows`` <- ``worker`` <- ``pool``, and
``schema`` <- ``manifest`` <- ``store_writer``, ``store`` <- ``stored_maps``; ``collect`` stands above all.
"""
