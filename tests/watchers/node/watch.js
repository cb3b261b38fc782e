// A program that reloads as many Node services do: fs.watch on a path, and readFileSync (which
// trusts the size that fstat tells) at every event. One line a reaction.
//
// Usage: node watch.js WATCHED FILE
'use strict';

const fs = require('node:fs');

const [watched, file] = process.argv.slice(2);
fs.watch(watched, (event) => {
  console.log(`reaction ${event} ${JSON.stringify(fs.readFileSync(file, 'utf8'))}`);
});
console.log('ready');
