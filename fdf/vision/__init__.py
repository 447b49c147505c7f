"""Detectors, keypoints, head pose, quality and embeddings, behind small protocols."""
