"""Here so that pytest puts this folder on the path: `import fakes` works in every test."""
