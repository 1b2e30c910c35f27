"""From a folder of poems to a language model of one's own, on the Hugging Face stack."""
