// Shared by the figures: the language of the page, and the model with its error message.
"use strict";

document.documentElement.lang = new URLSearchParams(location.search).get("lang") ?? "en";
const isChinese = document.documentElement.lang.startsWith("zh");

if (isChinese) {
  document.title = document.querySelector("h1 .zh")?.textContent.trim() ?? document.title;
}

// A name that only a screen reader speaks has its Chinese in data-zh.
if (isChinese) {
  for (const part of document.querySelectorAll("[data-zh]")) part.ariaLabel = part.dataset.zh;
}

// Chinese has no space where a line of the source ends.
for (const part of document.querySelectorAll(".zh")) {
  for (const node of part.childNodes) {
    if (node.nodeType !== Node.TEXT_NODE) continue;
    node.data = node.data.replace(/(?<!\w)\s*\n\s*(?=[^\x00-\xff])/g, "");
  }
}

// Returns an element with attributes and children. Attributes may be properties such as `onclick`.
function make(name, attributes = {}, ...children) {
  const element = Object.assign(document.createElement(name), attributes);
  element.append(...children);
  return element;
}

// Returns an element of a drawing (SVG), with attributes and perhaps a text.
function svg(name, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
}

// Returns a text in both languages. The style shows one of them.
function both(english, chinese) {
  const fragment = document.createDocumentFragment();
  fragment.append(make("span", { className: "en" }, english));
  fragment.append(make("span", { className: "zh", lang: "zh-Hans" }, chinese));
  return fragment;
}

// Returns the model of weights.js. Without the file, the page says how to make it.
function loadModel() {
  if (typeof WEIGHTS !== "undefined") return GPT.load(WEIGHTS);
  const message = both(
    "This figure needs the weights of a model: type “make run”, then “make book”.",
    "这张图需要模型的权重：请先运行 make run，再运行 make book。",
  );
  document
    .querySelector("main")
    .replaceChildren(make("p", { className: "missing", role: "alert" }, message));
  throw new Error("weights.js is missing");
}

const percent = (probability) => {
  const number = 100 * probability;
  return number < 0.1 ? "< 0.1 %" : `${number.toFixed(1)} %`;
};
