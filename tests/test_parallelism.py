"""對仗: real couplets are told from shuffled ones."""

import random

import pytest

from poet.corpus import load_poems
from poet.parallelism import Parallelism, middle_couplets
