"""The rules of Chinese poems: tones, rhyme and forms, a judge, and a mask for sampling."""
