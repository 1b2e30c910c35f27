"""The embedded corpus: verse that this project's own model wrote (README.md beside this file)."""
