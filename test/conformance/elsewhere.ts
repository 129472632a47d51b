/** A job in another runtime than Node: the bundle fetches the job and the files from a server here. */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { bundleOf } from '../portable/bundle.ts';
import { type Place, runBundle } from '../portable/place.ts';
import { denoPlace, ISOLATED_PAGE } from '../portable/targets.ts';
import type { Job, Machine, Outcome } from './job.ts';

const PLACES: Readonly<Record<string, () => Place>> = { deno: denoPlace, chromium: () => ISOLATED_PAGE };

export async function runElsewhere(runtime: string, job: Job, tell: (line: Machine | Outcome) => void): Promise<void> {
  const bundle = await bundleOf('conformance', 'test/conformance/main.ts');
  await using server = await serve(job);
  await runBundle(PLACES[runtime]!(), bundle, server.address, tell);
}

/** `/job`, and `/case/FILE` for each of its files. */
async function serve(job: Job): Promise<AsyncDisposable & { address: string }> {
  const server = createServer(async ({ url = '' }, response) => {
    const file = decodeURIComponent(url.replace('/case/', ''));
    const headers = { 'access-control-allow-origin': '*' }; // the page has an origin of its own
    if (url === '/job') response.writeHead(200, headers).end(JSON.stringify(job));
    else if (job.files.includes(file)) response.writeHead(200, headers).end(await readFile(file));
    else response.writeHead(404, headers).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}
