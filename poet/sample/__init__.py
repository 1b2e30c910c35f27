"""The embedded corpus: poems that this project's own model wrote (see README.md)."""
