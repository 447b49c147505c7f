"""The pipeline, one file per stage. A stage knows tables, not disks."""
