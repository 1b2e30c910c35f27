// The rules by which `run.py --recipe own` chooses its numbers: `_choose` of poet/data/own.py.
// RULES in 12-data.js is configs/own/choices.yaml. tests/book/test_own_rules.py compares the two.
"use strict";

const MULTIPLE = 32;
const OTHER_TOKENS = 5 + 256; // special tokens, and one token per byte

// Returns the texts of a page: paragraphs between blank lines.
const paragraphs = (text) =>
  text.split(/\n\s*\n/).map((part) => part.trim()).filter((part) => part);

const bytesOf = (character) => new TextEncoder().encode(character).length;

// Returns [character, count] pairs, the most frequent first.
function countCharacters(texts) {
  const counts = new Map();
  for (const character of texts.join("")) counts.set(character, (counts.get(character) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}

// Returns the numbers for texts without titles. A character outside `kept` becomes its bytes.
function chooseNumbers(rules, texts, kept) {
  const tokensOf = (text) =>
    [...text].reduce((sum, one) => sum + (kept.has(one) ? 1 : bytesOf(one)), 0);
  const lengths = texts.map(tokensOf).sort((a, b) => a - b);
  const place = Math.min(Math.floor(rules.rows_that_fit * lengths.length), lengths.length - 1);
  const most = lengths[place];
  const wanted = Math.ceil((most + 1) / MULTIPLE) * MULTIPLE;
  const positions = Math.min(Math.max(wanted, 2 * MULTIPLE), rules.max_positions);
  const characters = [...texts.join("\n\n")].length;
  const size = rules.sizes.filter((row) => row.characters <= characters).at(-1);
  const batch = Math.max(1, Math.floor(rules.tokens_per_step / positions));
  const full = Math.floor((size.passes * characters) / (batch * positions));
  const steps = Math.min(Math.max(full, rules.min_steps), size.max_steps);
  return {
    tokens: lengths.reduce((sum, length) => sum + length, 0),
    vocabulary: kept.size + OTHER_TOKENS,
    most,
    positions,
    characters,
    batch,
    steps,
    layers: size.n_layer,
    width: size.n_embd,
    passes: (steps * batch * positions) / characters,
  };
}

if (typeof module !== "undefined") module.exports = { paragraphs, countCharacters, chooseNumbers };
