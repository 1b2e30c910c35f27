// Finds words in the book. The index is a script: a page from the disk cannot fetch a file.
"use strict";

const box = document.getElementById("search");
const list = document.getElementById("results");
const root = document.body.dataset.root;
const LONGEST = 30; // results
let rows = null; // the sections of the book, once somebody searches

function load() {
  if (rows) return;
  rows = [];
  const script = document.createElement("script");
  script.src = root + "theme/index.js";
  script.onload = () => {
    rows = SEARCH.rows.map((row) => ({
      ...row,
      chinese: row.link.startsWith("zh/"),
      head: fold(row.title + " " + row.heading),
      folded: fold(row.text),
    }));
    search();
  };
  document.head.append(script);
}

// Makes letters small and characters simplified. The length stays the same.
function fold(text) {
  return Array.from(text.toLowerCase(), (c) => SEARCH.fold[c] || c).join("");
}

// All words of the query must be in a section. The page's own language comes first, then headings.
function search() {
  const words = rows.length ? fold(box.value).split(/\s+/).filter(Boolean) : [];
  const chinese = document.documentElement.lang === "zh";
  const score = (row) =>
    2 * (row.chinese === chinese) + words.every((word) => row.head.includes(word));
  const found = words.length
    ? rows.filter((row) => words.every((word) => (row.head + " " + row.folded).includes(word)))
    : [];
  found.sort((a, b) => score(b) - score(a));
  list.replaceChildren(...found.slice(0, LONGEST).map((row) => result(row, words)));
  if (words.length && !found.length) list.append(item(chinese ? "没有找到" : "nothing found"));
  list.hidden = !words.length;
}

function item(...parts) {
  const element = document.createElement("li");
  element.append(...parts);
  return element;
}

function result(row, words) {
  const link = document.createElement("a");
  link.href = root + row.link;
  const same = row.heading === row.title;
  link.append(same ? row.title : `${row.title} › ${row.heading}`);
  const places = words.map((word) => [row.folded.indexOf(word), word.length]);
  const [at, length] = places.find(([place]) => place >= 0) || [0, 0];
  const mark = document.createElement("mark");
  mark.append(row.text.slice(at, at + length));
  const text = document.createElement("p");
  const start = Math.max(0, at - 30);
  text.append((start ? "…" : "") + row.text.slice(start, at), mark);
  text.append(row.text.slice(at + length, at + length + 70));
  return item(link, text);
}

box.addEventListener("focus", load);
box.addEventListener("input", search);
box.addEventListener("keydown", (event) => {
  const first = list.querySelector("a");
  if (event.key === "Enter" && !event.isComposing && first) first.click();
});
list.addEventListener("click", (event) => {
  if (event.target.closest("a")) list.hidden = true;
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") list.hidden = true;
  if (event.key === "/" && !/INPUT|TEXTAREA/.test(document.activeElement.tagName)) {
    event.preventDefault();
    box.focus();
  }
});

// index.html?q=WORD shows what a search finds.
const asked = new URLSearchParams(location.search).get("q");
if (asked) {
  box.value = asked;
  load();
}
