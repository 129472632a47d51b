/** Runs the bundle in a page of Chromium, served as the target says. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { type Browser, chromium } from 'playwright-core';
import { workerOf } from './bundle.ts';

/** How the page is served. */
export interface PageKind {
  headers: Readonly<Record<string, string>>;
  browserArguments: readonly string[];
}

const CANDIDATES = [process.env.CHROMIUM_PATH, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

export const NO_CHROMIUM = 'no Chromium here: build/setup-gpu.sh installs it';

export function findChromium(): string | undefined {
  return CANDIDATES.find((path) => path && existsSync(path));
}

/** Ten minutes, against hangs: a page is there in a second on an idle machine. */
export const PATIENCE = 600_000;

export function launchChromium(executablePath: string, args: readonly string[] = []): Promise<Browser> {
  return chromium.launch({ executablePath, chromiumSandbox: false, args: ['--no-sandbox', ...args], timeout: PATIENCE });
}

/** Opens the page and passes on each line that it logs, until one of them ends the run. */
export async function runInPage(kind: PageKind, bundle: string, given: string, onLine: (line: string) => void): Promise<void> {
  const executablePath = findChromium();
  if (!executablePath) throw new Error(NO_CHROMIUM);
  const server = await serve(bundle, kind.headers);
  const browser = await launchChromium(executablePath, kind.browserArguments);
  try {
    const page = await browser.newPage();
    const ended = new Promise<void>((resolve, reject) => {
      page.on('console', (message) => {
        onLine(message.text());
        if (message.text().includes('"done":true')) resolve();
      });
      page.on('pageerror', reject);
      page.on('crash', () => reject(new Error('the page crashed')));
      browser.on('disconnected', () => reject(new Error('the browser ended')));
    });
    const { port } = server.address() as AddressInfo;
    await page.goto(`http://127.0.0.1:${port}/?given=${encodeURIComponent(given)}`, { timeout: PATIENCE });
    await ended;
  } finally {
    await browser.close();
    server.close();
  }
}

async function serve(bundle: string, headers: Readonly<Record<string, string>>): Promise<Server> {
  const scripts = new Map<string, Buffer>();
  for (const file of [bundle, workerOf(bundle)]) scripts.set(`/${path.basename(file)}`, await readFile(file));
  const server = createServer((request, response) => {
    const script = scripts.get(request.url ?? '');
    response.writeHead(200, { ...headers, 'content-type': script ? 'text/javascript' : 'text/html' });
    response.end(script ?? `<!doctype html><title>tests</title><script type="module" src="/${path.basename(bundle)}"></script>`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}
