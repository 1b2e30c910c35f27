const PRESETS = [
 {
  "name": "sample",
  "vocabulary": 3049,
  "width": 128,
  "layers": 3,
  "context": 128,
  "tied": true
 },
 {
  "name": "tutorial",
  "vocabulary": 8796,
  "width": 64,
  "layers": 4,
  "context": 256,
  "tied": false
 },
 {
  "name": "tang",
  "vocabulary": 8796,
  "width": 256,
  "layers": 3,
  "context": 256,
  "tied": true
 },
 {
  "name": "tang-gpu",
  "vocabulary": 8796,
  "width": 512,
  "layers": 8,
  "context": 256,
  "tied": true
 },
 {
  "name": "GPT-2 small",
  "vocabulary": 50257,
  "width": 768,
  "layers": 12,
  "context": 1024,
  "tied": true
 }
];
