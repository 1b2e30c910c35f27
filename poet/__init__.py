"""From a folder of poems to a language model of one's own, on the Hugging Face stack."""

import os

# trl reports each trainer's start to its makers. huggingface_hub reads this once, when it is imported: so it stands here,
# before any other import of this project.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
