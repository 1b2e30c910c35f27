const PAIRS = {"followed": 121, "pairs": 1169};
