"""Hides faces in pictures and films: whatever a method can't do is covered, so no face that was found stays bare.

`image.Anonymizer` is the library call, `files` and `video` read and write files, `methods` is the registry of what faces
can be replaced by. What is hidden, how well, and what is not: docs/anonymize.md.
"""
