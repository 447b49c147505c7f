"""People who do not exist: rendered photos with exact truth, written as a source like any other.

`identity` says who a person is, `shot` how one picture of them is taken, `person` makes their surfaces, `scene` puts people
before a camera, `render` traces it, `camera` makes a photo of the result, `truth` writes down what is in it, `source` keeps
the books. Frames: lengths in decimetres, x to the subject's left, y up, z forward; the picture's own frame is said in `truth`.
"""
