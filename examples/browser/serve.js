/**
 * A static server for the page beside it. Run: node examples/browser/serve.js [FOLDER] [--port N] [--isolated] [--csp]
 * FOLDER defaults to examples/. /node_modules/NAME/ is found as Node finds it: in FOLDER or above it, or this package itself.
 * --isolated sends COOP and COEP (precise timers, shared memory), --csp a strict Content-Security-Policy.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname, extname, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const here = dirname(fileURLToPath(import.meta.url));
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { port: { type: 'string', default: '8080' }, isolated: { type: 'boolean' }, csp: { type: 'boolean' } },
});
const folder = resolve(positionals[0] ?? dirname(here));

const TYPES = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
};
const BINARY_TYPES = { '.png': 'image/png', '.jpg': 'image/jpeg', '.svg': 'image/svg+xml', '.wasm': 'application/wasm' };

/** Files that a path may stand for, the likeliest first. None lies outside of its root. */
function candidates(path) {
  const inside = (root, rest) => resolve(root, `.${rest}`).startsWith(root + sep) && resolve(root, `.${rest}`);
  if (!path.startsWith('/node_modules/')) return [inside(folder, path)];
  const found = [];
  for (let root = folder; ; root = dirname(root)) {
    found.push(inside(resolve(root, 'node_modules'), path.slice('/node_modules'.length)));
    if (root === dirname(root)) break;
  }
  const own = '/node_modules/skip-vision/';
  if (path.startsWith(own)) found.push(inside(resolve(here, '../..'), path.slice(own.length - 1)));
  return found;
}

async function read(path) {
  for (const file of candidates(path)) {
    const body = file && (await readFile(file).catch(() => undefined));
    if (body) return body;
  }
  return undefined;
}

/** Scripts and styles of this server only, Wasm allowed; an import map has to be inline, so its hash is named. */
function policy(html) {
  const maps = [...html.matchAll(/<script type="importmap">(.*?)<\/script>/gs)];
  const hashes = maps.map(([, map]) => `'sha256-${createHash('sha256').update(map).digest('base64')}'`).join(' ');
  const scripts = `script-src 'self' 'wasm-unsafe-eval' ${hashes}`;
  return `default-src 'none'; ${scripts}; style-src 'self'; img-src 'self' blob: data:; connect-src 'self' blob:`;
}

const server = createServer(async (request, response) => {
  let path;
  try {
    path = decodeURIComponent(new URL(request.url, 'http://localhost').pathname).replace(/\/$/, '/index.html');
  } catch {
    response.writeHead(400).end();
    return;
  }
  const body = ['GET', 'HEAD'].includes(request.method) ? await read(path) : undefined;
  if (!body) {
    response.writeHead(404).end();
    return;
  }
  const text = TYPES[extname(path)];
  response.setHeader('Content-Type', text ? `${text}; charset=utf-8` : (BINARY_TYPES[extname(path)] ?? 'application/octet-stream'));
  response.setHeader('Content-Length', body.length);
  response.setHeader('Cache-Control', 'no-cache');
  if (values.isolated) {
    response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
    response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
  }
  if (values.csp && text === TYPES['.html']) response.setHeader('Content-Security-Policy', policy(body.toString()));
  response.end(request.method === 'HEAD' ? undefined : body);
});
server.listen(Number(values.port), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/browser/`));
