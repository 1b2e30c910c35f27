// python book/code/ch03_learning.py --figure 1
const PAIRS = {"followed":121,"pairs":1169};
