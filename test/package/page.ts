/** Pages of the project in Chromium, served by the server of the browser example; and that example, used as a person would. */
import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import type { Page } from 'playwright-core';
import { findChromium, launchChromium, PATIENCE } from '../portable/chromium.ts';
import { fail, type Project, Skip } from './project.ts';

export interface PageOptions {
  isolated: boolean;
  csp: boolean;
}

const COST = [
  'rows attended',
  'rows in the FFN',
  'prefill FLOPs',
  'prefill ms',
  'ms per token',
  'KV bytes before eviction',
  'KV bytes after',
];

export function checkPage({ folder }: Project, { isolated, csp }: PageOptions): Promise<void> {
  const options = [...(isolated ? ['--isolated'] : []), ...(csp ? ['--csp'] : [])];
  return inPage(folder, options, async (page, server) => {
    await page.goto(server);
    await use(page, folder, isolated);
  });
}

/** Serves the project with the options given and uses a page; fails with what the page must not do as well. */
export async function inPage(
  folder: string,
  options: readonly string[],
  work: (page: Page, server: string) => Promise<void>,
): Promise<void> {
  const executablePath = findChromium();
  if (!executablePath) throw new Skip('there is no Chromium on this machine');
  const server = spawn(process.execPath, ['examples/browser/serve.js', '--port', '0', ...options], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const url = await firstLine(server);
    if (!url.startsWith('http://127.0.0.1:')) fail(`the server listens on ${url}`);
    const browser = await launchChromium(executablePath);
    try {
      const page = await browser.newPage();
      page.setDefaultTimeout(PATIENCE);
      const faults = watch(page);
      const error = await work(page, url).catch((reason: Error) => reason);
      if (error) faults.unshift(error.message);
      if (faults.length > 0) fail(faults.join('\n'));
    } finally {
      await browser.close();
    }
  } finally {
    server.kill();
  }
}

function firstLine(server: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    server.stdout!.once('data', (data: Buffer) => resolve(data.toString().trim()));
    server.once('close', (status) => reject(new Error(`the server ended with status ${status}`)));
  });
}

/** Whatever the page must not do. */
function watch(page: Page): string[] {
  const faults: string[] = [];
  page.on('pageerror', (error) => faults.push(`uncaught: ${error.message}`));
  page.on('console', (message) => message.type() === 'error' && faults.push(`console: ${message.text()}`));
  page.on('response', (response) => response.status() >= 400 && faults.push(`${response.status()} ${response.url()}`));
  page.on('request', (request) => {
    const { hostname, protocol } = new URL(request.url());
    if (protocol.startsWith('http') && hostname !== '127.0.0.1') faults.push(`it asked ${hostname}`);
  });
  return faults;
}

async function use(page: Page, folder: string, isolated: boolean): Promise<void> {
  await page.waitForSelector('#ask:not([disabled])').catch(async () => fail(`it is not ready: ${await page.textContent('#status')}`));
  const status = (await page.textContent('#status')) ?? '';
  if (!/^wasm \(simd128.*\); not webgpu: /.test(status)) fail(`its backend is ${status}`);
  if ((await page.evaluate(() => globalThis.crossOriginIsolated)) !== isolated) fail(`crossOriginIsolated is ${!isolated}`);

  const answer = async () => {
    await page.click('#ask');
    await page.waitForSelector('#ask:not([disabled])');
    return page.textContent('#answer');
  };
  const first = await answer();
  if (first !== 'lion') fail(`it answers "${first}"`);
  const rows = await page.$$eval('#cost tr', (all) => all.map((row) => [...row.children].map((cell) => cell.textContent)));
  if (rows.map(([name]) => name).join() !== COST.join()) fail(`its table is ${JSON.stringify(rows)}`);
  const [attended, ffn, flops, prefill, perToken, before, after] = rows.map(([, value]) => Number(value));
  if (attended !== 78 || ffn !== 39 || before !== 159744 || after !== 79872) fail(`its table is ${JSON.stringify(rows)}`);
  if (!(flops! > 6e7 && flops! < 7e7 && prefill! > 0 && perToken! > 0)) fail(`its table is ${JSON.stringify(rows)}`);

  // the other scene, through the file picker
  await page.setInputFiles('#file', path.join(folder, 'examples/tiny-vlm/eval/001.png'));
  await page.fill('#question', 'what is at the bottom left ?');
  const second = await answer();
  if (second !== 'umbrella') fail(`of the picked picture it says "${second}"`);
  await page.fill('#question', 'dog '.repeat(600));
  const refusal = await answer();
  if (!refusal?.includes('512 positions')) fail(`of a question too long it says "${refusal}"`);
  if (await page.isVisible('#cost')) fail('the table of the answer before is still there');
}
