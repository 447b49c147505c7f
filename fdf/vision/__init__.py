"""Detectors, keypoints, head pose, quality and embeddings, behind small protocols.

`zoo.load_model` makes an adapter, `analyze.Analyzer` runs them, `picture.decode` reads files, `crop.crop_box` cuts as FDF does.
Which models there are and how well they do: docs/models.md.
"""
