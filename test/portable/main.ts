/**
 * The entry of the bundle, in any runtime. Takes the claim about the platform as JSON, from the command line or from the page's
 * URL; prints each result as a line of JSON, and `{"done":true}` at the end.
 */
import { collect, runTests } from '../harness.ts';
import { type Claim, platformOf } from '../platform.ts';
import { SUITES } from '../suites/index.ts';

export interface PortableClaim extends Claim {
  /** The suites to run; all without it. */
  suites?: readonly string[];
}

const { process, location } = globalThis as { process?: { argv: string[] }; location?: Location };
const given = process ? process.argv[2] : new URLSearchParams(location?.search).get('claim');
const claim = JSON.parse(given ?? 'null') as PortableClaim | null;
if (!claim) throw new Error('the first argument, or ?claim= in a page, must be the claim as JSON');

const suites = Object.fromEntries(Object.entries(SUITES).filter(([name]) => claim.suites?.includes(name) ?? true));
await runTests(collect(suites, platformOf(claim)), (result) => console.log(JSON.stringify(result)));
console.log(JSON.stringify({ done: true }));
