/**
 * The entry of the bundle, in any runtime: runs the job of the server whose address it is given, and prints what it tells as lines of
 * JSON, `{"done":true}` at the end.
 */
import { givenArgument } from '../portable/argument.ts';
import { type Job, runJob } from './job.ts';

const server = givenArgument();

async function get(path: string): Promise<Response> {
  const response = await fetch(`${server}/${path}`);
  if (!response.ok) throw new Error(`${path}: status ${response.status}`);
  return response;
}

const job = (await (await get('job')).json()) as Job;
await runJob(
  job,
  async (file) => new Uint8Array(await (await get(`case/${encodeURIComponent(file)}`)).arrayBuffer()),
  (line) => console.log(JSON.stringify(line)),
);
console.log(JSON.stringify({ done: true }));
