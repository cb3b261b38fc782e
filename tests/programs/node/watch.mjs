// A program that reloads by chokidar: node watch.mjs CHOKIDAR WATCHED FILE
//
// CHOKIDAR is the folder of the installed package. Each call for 'all' is one reaction; what is there
// at the start is not told.
import { readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

const [chokidar, watched, file] = process.argv.slice(2);
const { version } = JSON.parse(readFileSync(join(chokidar, 'package.json'), 'utf8'));
const { watch } = await import(join(chokidar, 'esm/index.js'));

const read = (path) => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
};

// chokidar drops what comes too soon after an event of the same kind and path, for good. So a reaction
// is told when it would hear the next one; what it tells was read when it was called.
const watcher = watch(watched, { ignoreInitial: true });
const deaf = () => [...watcher._throttled.values()].some((paths) => paths.size > 0);
const hearing = async () => {
  while (deaf()) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
};
let told = Promise.resolve();
watcher.on('all', (event, path) => {
  const name = basename(path);
  const line = { name, file: read(file), named: read(join(dirname(file), name)) };
  told = told.then(hearing).then(() => console.log(`reaction ${JSON.stringify(line)}`));
});
watcher.on('ready', () => hearing().then(() => console.log(`ready ${version}`)));
