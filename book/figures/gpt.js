// GPT-2 in plain JavaScript: tokenizer, forward pass and sampler, for the figures of the book.
//
//     <script src="gpt.js"></script> <script src="weights.js"></script>
//     const model = GPT.load(WEIGHTS);
//     const { logits, attention } = GPT.forward(model, GPT.prompt(model, "春夜", "春風"));
//
// `logits[t]` has a score for each token of the vocabulary as the token after position t.
// `attention[layer][head][t]` has t + 1 weights: how much position t reads from each position up to
// itself. weights.js is written by book/code/export_weights.py. A test compares the logits with
// those of PyTorch (tests/book/test_gpt_js.py).
//
// Letters in comments: C numbers per token, H heads, D = C / H, V tokens in the vocabulary.
"use strict";

const GPT = (() => {
  // Returns the model in a weights file: its config, vocabulary, prompt and tensors.
  function load(file) {
    const bytes = Uint8Array.from(atob(file.data), (letter) => letter.charCodeAt(0));
    const numbers = Float32Array.from(new Uint16Array(bytes.buffer), fromHalf);
    const tensors = {};
    for (const [name, [offset, size]] of Object.entries(file.tensors))
      tensors[name] = numbers.subarray(offset, offset + size);
    const ids = new Map(file.vocabulary.map((token, id) => [token, id]));
    return { ...file, data: null, ids, tensors };
  }

  // A half-precision number (IEEE 754) has a sign bit, 5 bits of exponent, 10 bits of fraction.
  function fromHalf(bits) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }

  // ---------------------------------------------------------------- tokenizer

  // Returns the ids of a text: one per character. Unknown characters become their UTF-8 bytes.
  function encode(model, text) {
    return [...text].flatMap((character) => {
      if (model.ids.has(character)) return [model.ids.get(character)];
      return Array.from(new TextEncoder().encode(character), (byte) => {
        const digits = byte.toString(16).toUpperCase().padStart(2, "0");
        return model.ids.get(`<0x${digits}>`);
      });
    });
  }

  // Returns the text of ids. Neighboring byte tokens become characters again.
  function decode(model, ids) {
    const text = ids.map((id) => model.vocabulary[id]).join("");
    return text.replace(/(<0x[0-9A-F]{2}>)+/g, (run) => {
      const digits = run.match(/[0-9A-F]{2}(?=>)/g);
      return new TextDecoder().decode(Uint8Array.from(digits, (pair) => parseInt(pair, 16)));
    });
  }

  // Returns the ids that ask a fine-tuned model for a poem with a title, and the poem so far.
  function prompt(model, title, poem = "") {
    const [before, after] = model.prompt;
    return [...before, ...encode(model, title), ...after, ...encode(model, poem)];
  }

  // ---------------------------------------------------------------- forward pass

  // Returns the logits and the attention weights of all positions.
  function forward(model, ids) {
    const state = start(model);
    const attention = state.map(() => Array.from({ length: model.config.n_head }, () => []));
    const logits = ids.map((id) => {
      const seen = step(model, state, id);
      seen.attention.forEach((heads, l) => heads.forEach((row, h) => attention[l][h].push(row)));
      return seen.logits;
    });
    return { logits, attention, state };
  }

  // Returns the state before the first token: no keys and values in any layer (the KV cache).
  function start(model) {
    return Array.from({ length: model.config.n_layer }, () => ({ keys: [], values: [] }));
  }

  // Reads one more token. It cannot look at later tokens: their keys are not there yet.
  function step(model, state, id) {
    const { n_embd: C, n_positions } = model.config;
    const { "wte.weight": wte, "wpe.weight": wpe } = model.tensors;
    const position = state[0].keys.length;
    if (position >= n_positions) throw new RangeError(`the model has ${n_positions} positions`);
    const x = wte.slice(id * C, id * C + C); // (C): it describes the token
    add(x, wpe.subarray(position * C, position * C + C)); // (C): and its position
    const attention = state.map((cache, l) => {
      const heads = attend(model, `h.${l}.attn.`, norm(model, `h.${l}.ln_1.`, x), cache);
      add(x, linear(model, `h.${l}.attn.c_proj.`, heads.output)); // (C)
      const wide = linear(model, `h.${l}.mlp.c_fc.`, norm(model, `h.${l}.ln_2.`, x)); // (4C)
      add(x, linear(model, `h.${l}.mlp.c_proj.`, wide.map(gelu))); // (C)
      return heads.weights;
    });
    const last = norm(model, "ln_f.", x); // (C)
    const logits = new Float32Array(wte.length / C); // (V): embeddings are output weights too
    for (let v = 0; v < logits.length; v++) logits[v] = dot(wte, v * C, last, 0, C);
    return { logits, attention };
  }

  // Returns what the heads read, side by side: (C), and their weights: (H, position + 1).
  function attend(model, name, x, cache) {
    const { n_embd: C, n_head: H } = model.config;
    const D = C / H;
    const query = linear(model, `${name}c_attn.`, x); // (3C): query, then key, then value
    cache.keys.push(query.slice(C, 2 * C));
    cache.values.push(query.slice(2 * C));
    const output = new Float32Array(C);
    const weights = Array.from({ length: H }, (_, h) => {
      const scores = cache.keys.map((key) => dot(query, h * D, key, h * D, D) / Math.sqrt(D));
      const row = softmax(scores); // (position + 1)
      cache.values.forEach((value, t) => {
        for (let c = h * D; c < (h + 1) * D; c++) output[c] += row[t] * value[c];
      });
      return row;
    });
    return { output, weights };
  }

  // Returns x W + b. GPT-2 stores W as (inputs, outputs).
  function linear(model, name, x) {
    const weight = model.tensors[`${name}weight`];
    const y = model.tensors[`${name}bias`].slice();
    for (let i = 0; i < x.length; i++)
      for (let o = 0, at = i * y.length; o < y.length; o++) y[o] += x[i] * weight[at + o];
    return y;
  }

  // Layer norm: scales the numbers of a token to mean 0 and variance 1.
  function norm(model, name, x) {
    const [weight, bias] = [model.tensors[`${name}weight`], model.tensors[`${name}bias`]];
    const mean = x.reduce((sum, number) => sum + number, 0) / x.length;
    const variance = x.reduce((sum, number) => sum + (number - mean) ** 2, 0) / x.length;
    const deviation = Math.sqrt(variance + model.config.layer_norm_epsilon);
    return x.map((number, c) => ((number - mean) / deviation) * weight[c] + bias[c]);
  }

  function gelu(x) {
    return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  }

  function add(x, more) {
    for (let c = 0; c < x.length; c++) x[c] += more[c];
  }

  function dot(a, i, b, j, length) {
    let sum = 0;
    for (let k = 0; k < length; k++) sum += a[i + k] * b[j + k];
    return sum;
  }

  // ---------------------------------------------------------------- sampler

  // Returns probabilities. A temperature below 1 makes likely tokens likelier still.
  function softmax(scores, temperature = 1) {
    const highest = scores.reduce((a, b) => Math.max(a, b), -Infinity); // exp must not overflow
    const powers = Array.from(scores, (score) => Math.exp((score - highest) / temperature));
    const total = powers.reduce((sum, power) => sum + power, 0);
    return powers.map((power) => power / total);
  }

  // Returns a function that draws numbers between 0 and 1: the same ones for the same seed.
  // It is xorshift (Marsaglia 2003, "Xorshift RNGs").
  function random(seed) {
    let state = Math.imul(seed + 1, 0x9e3779b1) | 0 || 1;
    return () => {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return (state >>> 0) / 2 ** 32;
    };
  }

  // Draws a token. `next` comes from `random`. Suppressed tokens, such as bytes, are never drawn.
  function sample(model, logits, next, temperature = 1) {
    const allowed = logits.slice();
    for (const id of model.suppressed) allowed[id] = -Infinity;
    const probabilities = softmax(allowed, temperature);
    let rest = next();
    let chosen = 0;
    for (let id = 0; rest >= 0 && id < probabilities.length; id++) {
      if (probabilities[id] > 0) chosen = id;
      rest -= probabilities[id];
    }
    return chosen;
  }

  return { load, encode, decode, prompt, forward, start, step, softmax, random, sample };
})();

if (typeof module !== "undefined") module.exports = GPT;
